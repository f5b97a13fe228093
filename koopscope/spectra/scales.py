"""How many layers a hierarchical model needs, from the frequencies of the data, before training.

Mohr, Fonoberova, Drmac, Manojlovic, Mezic, Entropy 23(1):37 (2021): hierarchical support vector
regression adds Gaussian layers from coarse to fine, and its error drops once the scale of the
finest frequency in the data is reached. Algorithms 1 and 2 are followed to the letter; the
Hankel-DMD variant takes its frequencies from eigenvalues instead. Sees numbers, never a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError

Method = Literal["fft", "dmd"]

#: Frequencies whose coefficient is at most this part of the largest are left out (Algorithm 1).
SUPPORT = 0.01

#: Consecutive scales differ by at least this factor (Algorithm 2).
DECAY = 2.0

#: A period spans six scales: a Gaussian has all but 0.3% of its mass within three of them.
SCALES_PER_PERIOD = 6.0

#: A frequency makes at least this part of a turn over all samples; less is a trend.
SLOWEST_PERIODS = 0.05

#: Most delay coordinates of the Hankel matrix; more cost time and add no frequency.
MOST_DELAYS = 500

#: Singular values below this part of the largest are noise of the arithmetic.
_RANK_TOLERANCE = 1e-8

LEAST_SAMPLES = 8


@dataclass(frozen=True)
class Scales:
    """The Gaussian scales that one method asks for.

    Attributes
    ----------
    method
        ``fft`` or ``dmd``.
    frequencies
        float64, in cycles per unit of x, ascending: the support.
    scales
        float64, in units of x, coarse to fine, thinned. One layer each.
    """

    method: Method
    frequencies: Float64
    scales: Float64

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.scales)


def scales_of(values: Float64, spacing: float, method: Method) -> Scales:
    """Return the scales of equidistant samples.

    Parameters
    ----------
    values
        float64 [n], n at least 8, finite.
    spacing
        Distance of two samples, positive.
    method
        ``fft``, or ``dmd`` for Hankel DMD, which usually asks for fewer layers and fails on
        polynomials and exponentials (they have no frequencies).

    Raises
    ------
    KoopscopeError
        If there are too few samples, or one is not finite.
    """
    if len(values) < LEAST_SAMPLES:
        raise KoopscopeError(
            f"{len(values)} samples are too few to find frequencies",
            f"give at least {LEAST_SAMPLES}",
        )
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise KoopscopeError(f"sample {first} is not a finite number", "clean the data first")
    cycles = _fourier(values) if method == "fft" else _hankel_dmd(values)
    scales = np.sort(1.0 / (SCALES_PER_PERIOD * cycles))[::-1] * spacing
    return Scales(method, np.sort(cycles) / spacing, thinned(scales))


def thinned(scales: Float64, decay: float = DECAY) -> Float64:
    """Return float64 [kept]: descending scales that differ by at least a factor (Alg. 2)."""
    kept: list[float] = []
    for scale in scales:
        if not kept or kept[-1] / scale >= decay * (1.0 - 1e-12):
            kept.append(float(scale))
    return np.array(kept)


def _fourier(values: Float64) -> Float64:
    """Positive frequencies, in cycles per sample, whose coefficient is not negligible (Alg. 1)."""
    coefficients = np.abs(np.fft.rfft(values))
    frequencies: Float64 = np.fft.rfftfreq(len(values)).astype(np.float64)
    largest = float(coefficients.max())
    present: Float64 = frequencies[(coefficients > SUPPORT * largest) & (frequencies > 0.0)]
    return present


def _hankel_dmd(values: Float64) -> Float64:
    """Frequencies of the DMD eigenvalues of the delay-embedded values, in cycles per sample.

    The Hankel matrix is small here, so its SVD is taken directly. Amplitudes are those of the
    modes in the first column; the support is chosen as with the Fourier coefficients.
    """
    delays = min(len(values) // 2, MOST_DELAYS)
    hankel = np.lib.stride_tricks.sliding_window_view(values, len(values) - delays + 1)
    before, after = hankel[:, :-1], hankel[:, 1:]
    U, S, Vt = np.linalg.svd(before, full_matrices=False)
    rank = int(np.count_nonzero(_RANK_TOLERANCE * S[0] < S))
    if not rank:  # nothing but zeros
        return np.empty(0)
    U, S, Vt = U[:, :rank], S[:rank], Vt[:rank]
    operator = (U.T @ after @ Vt.T) / S
    eigenvalues, vectors = np.linalg.eig(operator)
    amplitudes = np.abs(
        np.linalg.lstsq(vectors, (U.T @ before[:, 0]).astype(complex), rcond=None)[0]
    )
    cycles = np.angle(eigenvalues) / (2.0 * np.pi)
    slowest = SLOWEST_PERIODS / len(values)
    present: Float64 = cycles[(amplitudes > SUPPORT * amplitudes.max()) & (cycles > slowest)]
    return present
