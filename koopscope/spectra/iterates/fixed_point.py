"""Where iterates x_{n+1} = T(x_n) + f are going, how fast, and how sure that is.

Seen as a trajectory with the iterate as time, the leading Koopman eigenvalue of the increments is
the contraction factor (Zappala et al. 2310.01618), and the fixed point is where the increments run
out. Everything here follows from the snapshot Gram matrix; no iterate is ever read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.still_to_come import DRIFT_GAP, geometric_sum, last_coordinates

#: Increments shorter than this many rounding errors say more of rounding than of the operator.
ROUNDING_MARGIN = 300.0

#: Fewest iterates a factor can be told from: two increments to fit, one to test, one more.
FEWEST_ITERATES = 5

#: A mode counts among the leading ones if it makes up this share of the way that is left.
LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class FixedPoint:
    """What a stretch of iterates x_0 .. x_{T-1} tells of its fixed point x*.

    Attributes
    ----------
    spectrum
        Of the increments, over the stretch that predicts held-out increments best.
    first
        Index of that stretch's first iterate.
    usable
        Iterates before increments sink into rounding; all of them where none do.
    factor, interval
        |lambda| of the slowest mode that matters, per iteration, and where it may lie.
    leading
        That mode's eigenvalue.
    ratios
        float64, |d_{t+1}| / |d_t| over the usable increments.
    combination
        float64 [usable - 1], x* = x_{usable - 1} + sum_t combination[t] d_t.
    distances
        float64 [usable], predicted |x_t - x*|; NaN where there is no fixed point ahead.
    remaining
        complex128 [r], each mode's part in x* - x_{usable - 1}, in the order of the spectrum.
    held_out_error
        How far predicted increments were off on the held-out end, relative to their length.
    """

    spectrum: Spectrum
    first: int
    usable: int
    factor: float
    interval: tuple[float, float]
    leading: complex
    ratios: Float64
    combination: Float64
    distances: Float64
    remaining: Complex128
    held_out_error: float

    @property
    def largest_ratio(self) -> float:
        """The largest |d_{t+1}| / |d_t|: no Lipschitz constant of the operator can be smaller."""
        return float(self.ratios.max())

    @property
    def distance(self) -> float:
        """Predicted distance of the last usable iterate from the fixed point."""
        return float(self.distances[-1])

    def iterations(self, tolerance: float) -> float:
        """Return the smallest n for which |x_n - x*| <= tolerance |x_0 - x*|, predicted.

        Read off the predicted distances while iterates last, and beyond them by letting each mode
        decay. Infinite where the iterates do not converge.

        Raises
        ------
        KoopscopeError
            If the tolerance is not between 0 and 1.
        """
        if not 0.0 < tolerance < 1.0:
            raise KoopscopeError(
                f"a tolerance of {tolerance} is not possible", "give a number between 0 and 1"
            )
        if self.factor >= 1.0 or not np.isfinite(self.distances).all():
            return math.inf
        wanted = tolerance * float(self.distances[0])
        reached = np.flatnonzero(self.distances <= wanted)
        if len(reached):
            return float(reached[0])
        return self.usable - 1 + self._further(wanted)

    def _further(self, wanted: float) -> float:
        """Iterations from the last usable one until the modes have decayed below ``wanted``."""

        def left(n: int) -> float:
            decayed = self.remaining * self.spectrum.eigenvalues.astype(complex) ** n
            return float(np.linalg.norm(self.spectrum.eigenvectors @ decayed))

        high = 1
        while left(high) > wanted:
            high *= 2
            if high > 2**40:
                return math.inf
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if left(middle) > wanted else (low, middle)
        return float(high)


def fixed_point(gram: SnapshotGram, rounding_length: float = 0.0) -> FixedPoint:
    """Return the fixed point that iterates are heading for.

    Parameters
    ----------
    gram
        Inner products of consecutive iterates, all finite.
    rounding_length
        Length of the rounding error of one increment as stored.

    Raises
    ------
    KoopscopeError
        If there are fewer than five iterates before motion sinks into rounding.
    """
    lengths = gram.speeds()
    usable = _usable(lengths, rounding_length)
    if usable < FEWEST_ITERATES:
        raise KoopscopeError(
            f"only {usable} of {gram.snapshots} iterates move by more than rounding",
            f"it takes {FEWEST_ITERATES}; start further from the fixed point, or store more digits",
        )
    gram, lengths = gram.window(0, usable), lengths[: usable - 1]
    noise = rounding_length / lengths
    fits = _fits(gram, noise)
    best = min(fits, key=lambda fit: fit.error)
    spectrum = dmd(gram.window(best.first, usable), "increments", rank=best.rank)
    remaining = _remaining(spectrum)
    chosen = _leading(spectrum, remaining)
    factor = float(spectrum.magnitudes[chosen])
    radius = _radius(spectrum, chosen, abs(factor - best.factor))
    combination = np.zeros(usable - 1)
    in_basis = spectrum.basis @ (spectrum.eigenvectors @ remaining).real
    combination[best.first : best.first + len(in_basis)] = in_basis
    ahead = bool((np.abs(1.0 - spectrum.eigenvalues) > DRIFT_GAP).all())
    return FixedPoint(
        spectrum=spectrum,
        first=best.first,
        usable=usable,
        factor=factor,
        interval=(max(0.0, factor - radius), factor + radius),
        leading=complex(spectrum.eigenvalues[chosen]),
        ratios=lengths[1:] / lengths[:-1],
        combination=combination,
        distances=_distances(gram, combination) if ahead else np.full(usable, np.nan),
        remaining=remaining,
        held_out_error=best.error,
    )


def _usable(lengths: Float64, rounding_length: float) -> int:
    """Count the iterates before the first increment that is all rounding."""
    drowned = np.flatnonzero(lengths <= max(ROUNDING_MARGIN * rounding_length, 0.0))
    return int(drowned[0]) + 1 if len(drowned) else len(lengths) + 1


@dataclass(frozen=True)
class _Fit:
    first: int
    rank: int
    error: float
    factor: float


def _fits(gram: SnapshotGram, noise: Float64) -> list[_Fit]:
    """Fit stretches of several starts and ranks to all but their end, and test each on the end.

    Early iterates of a nonlinear operator obey another law than late ones, so late starts compete
    with early ones; every one is tested on the same increments.
    """
    moves = gram.snapshots - 1
    held_out = max(1, moves // 5)
    fits = []
    for first in sorted({0, moves // 4, moves // 2, 2 * moves // 3}):
        part = gram.window(first, gram.snapshots - held_out)
        if part.snapshots < FEWEST_ITERATES - 1:
            continue
        for rank in _ranks(part, noise[first : first + part.snapshots - 1]):
            spectrum = dmd(part, "increments", rank=rank)
            error = _held_out_error(gram.window(first, gram.snapshots), spectrum, noise[-held_out:])
            factor = float(spectrum.magnitudes[_leading(spectrum, _remaining(spectrum))])
            fits.append(_Fit(first, spectrum.rank, error, factor))
    return fits


def _ranks(gram: SnapshotGram, noise: Float64) -> list[int]:
    """Ranks worth trying: all above the rounding, and fewer."""
    singular_values = dmd(gram, "increments", rank=-1).singular_values
    floor = math.sqrt(float(np.sum(noise**2)) + len(noise) * np.finfo(np.float64).eps)
    ranks = {
        int(np.count_nonzero(singular_values > margin * floor)) for margin in (1, 10, 1e2, 1e3, 1e4)
    }
    return sorted({max(1, rank) for rank in ranks} | {1, 2, 3} & set(range(len(singular_values))))


def _held_out_error(gram: SnapshotGram, spectrum: Spectrum, noise: Float64) -> float:
    """Root mean square error of the increments after the fitted ones, relative to their lengths."""
    D = gram.increments
    fitted = spectrum.pairs + 1
    state = spectrum.trajectory[:, -1]
    squares = []
    for t in range(fitted, len(D)):
        state = spectrum.operator @ state
        weights = spectrum.basis @ state
        cross = float(weights @ D[: spectrum.pairs, t])
        squares.append(max(float(state @ state) - 2.0 * cross + D[t, t], 0.0) / D[t, t])
    return math.sqrt(float(np.mean(squares)) + float(np.mean(noise**2)))


def _remaining(spectrum: Spectrum) -> Complex128:
    """Return each mode's part in the way that is left: the sum of all increments still to come.

    The coordinates b of the last increment decay as lambda^n, so those after it sum to
    b lambda / (1 - lambda).
    """
    values = spectrum.eigenvalues
    return geometric_sum(last_coordinates(spectrum) * values, values)


def _mattering(spectrum: Spectrum, remaining: Complex128) -> npt.NDArray[np.bool_]:
    parts = np.abs(remaining)
    mattering: npt.NDArray[np.bool_] = parts >= LEAST_SHARE * parts.max()
    return mattering


def _leading(spectrum: Spectrum, remaining: Complex128) -> int:
    """Index of the slowest mode among those that matter for the way that is left."""
    return int(np.argmax(np.where(_mattering(spectrum, remaining), spectrum.magnitudes, -1.0)))


def _distances(gram: SnapshotGram, combination: Float64) -> Float64:
    """Return |x_t - x*| for every iterate, as lengths of combinations of increments."""
    moves = len(combination)
    still_to_come = np.triu(np.ones((moves, moves))) + combination
    weights = np.vstack([still_to_come, combination])
    squares = np.einsum("ij,jk,ik->i", weights, gram.increments, weights)
    distances: Float64 = np.sqrt(np.maximum(squares, 0.0))
    return distances


def _radius(spectrum: Spectrum, chosen: int, drift: float) -> float:
    """How far the leading |lambda| may be from the operator's own.

    A residual rho means that an operator within rho of the true one has exactly this eigenvalue, so
    to first order the error is at most rho times the eigenvalue's condition number (Bauer and Fike
    for one eigenvalue). What residuals are blind to, that early iterates obey another law than
    late ones, shows in how far the last iterates moved the estimate. Residuals are square roots of
    differences, so they are known to the square root of rounding.
    """
    left = np.linalg.pinv(spectrum.eigenvectors)[chosen]
    right = spectrum.eigenvectors[:, chosen]
    condition = float(np.linalg.norm(left) * np.linalg.norm(right))
    blind = math.sqrt(spectrum.pairs * np.finfo(np.float64).eps)
    return condition * (float(spectrum.residuals[chosen]) + blind) + drift
