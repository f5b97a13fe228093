"""Score weights: every criterion but chance is a product of combinations of their snapshots.

That is what the modes are, so one pass over the run scores all weights with a (T, k) matrix of
coefficients. Reads no file and selects nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64
from koopscope.analysis.analysis import Analysis
from koopscope.errors import KoopscopeError
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.law_of_motion import law_of_motion
from koopscope.spectra.still_to_come import limit_of_modes

#: How far ahead of the judged snapshot weights are ranked by ``destination``, in snapshots, and how
#: many increments its law stacks, in windows that are long enough. Of straight lines over the last
#: 1 to 11 increments, 1 to 12 ahead, and damped laws 1 to 40 ahead and without end, this agreed
#: best with the final masks on the tuning families: studies/pruning/destinations.py.
AHEAD = 20.0
DELAY = 2
LONG_ENOUGH = 8


@dataclass(frozen=True)
class RestingMode:
    """The mode of the weights whose eigenvalue is 1: the fixed point of their affine law.

    Attributes
    ----------
    residual
        Of the eigenpair, on the snapshots it was computed from; see ``Spectrum.residuals``.
    index, rank
        Its place among the modes of the spectrum, by amplitude, and how many there are.
    fastest
        Largest |lambda| of the others, 0 without any; from 1 on, the weights move away from it.
    """

    residual: float
    index: int
    rank: int
    fastest: float

    @property
    def is_approached(self) -> bool:
        """Whether the law leads there."""
        return self.fastest < 1.0


class Criterion(Protocol):
    """Scores of the weights of one run at one step; larger is worth keeping."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def mode(self) -> RestingMode | None:
        """The mode that the score rests on, if it rests on one."""

    @property
    def snapshots_used(self) -> int:
        """How many snapshots the score rests on."""

    def scores(
        self, tensor: str, start: int, values: npt.NDArray[np.floating[Any]]
    ) -> npt.NDArray[np.float64]:
        """Return float64 [n] for a block (T, n) of a tensor; not a number scores 0."""


@dataclass(frozen=True)
class Combinations:
    """A criterion that multiplies linear combinations of a weight's snapshots.

    Attributes
    ----------
    name, mode
        See ``Criterion``.
    coefficients
        float64 or complex128 [T, k]: the score of a weight with snapshots x_0 .. x_{T-1} is
        prod_j |sum_t coefficients[t, j] x_t|.
    """

    name: str
    coefficients: Float64 | Complex128
    mode: RestingMode | None = None

    @property
    def snapshots_used(self) -> int:
        """See ``Criterion``."""
        return int(np.count_nonzero(self.coefficients.any(axis=1)))

    def scores(
        self, tensor: str, start: int, values: npt.NDArray[np.floating[Any]]
    ) -> npt.NDArray[np.float64]:
        """See ``Criterion``."""
        used = np.flatnonzero(self.coefficients.any(axis=1))
        sizes = self._sizes(values[used].real, used)
        if np.iscomplexobj(values):  # a weight is the vector of its two parts
            sizes = np.hypot(sizes, self._sizes(values[used].imag, used))
        scores: Float64 = np.nan_to_num(sizes.prod(axis=1), nan=0.0, posinf=0.0)
        return scores

    def _sizes(self, values: npt.NDArray[Any], used: npt.NDArray[np.intp]) -> Float64:
        """Return float64 [n, k]: |sum_t coefficients[t, j] x_t| of real numbers."""
        snapshots = values.T.astype(np.float64)
        combined = snapshots @ self.coefficients.real[used]
        if np.iscomplexobj(self.coefficients):
            combined = combined + 1j * (snapshots @ self.coefficients.imag[used])
        sizes: Float64 = np.abs(combined)
        return sizes


@dataclass(frozen=True)
class RandomScores:
    """Uniform scores: what any criterion has to beat. The same seed gives the same scores."""

    seed: int = 0
    name: str = "random"
    mode: RestingMode | None = None
    snapshots_used: int = 0

    def scores(
        self, tensor: str, start: int, values: npt.NDArray[np.floating[Any]]
    ) -> npt.NDArray[np.float64]:
        """Return float64 [n] in [0, 1), the same however a tensor is cut into blocks.

        Philox is counter-based, four draws to a count, so any weight's draw can be reached
        directly.
        """
        aligned = start - start % 4
        bits = np.random.Philox(key=[self.seed % 2**64, crc32(tensor.encode())])
        bits.advance(aligned // 4)
        draws: Float64 = np.random.Generator(bits).random(start - aligned + values.shape[1])
        return draws[start - aligned :]


def criterion(name: str, analysis: Analysis, seed: int = 0) -> Criterion:
    """Return a criterion for the weights at the last snapshot of the analysis' window.

    Parameters
    ----------
    name
        One of ``CRITERIA``.
    analysis
        Of the run up to the step at which it is pruned.
    seed
        Of ``random``.

    Raises
    ------
    KoopscopeError
        If the name is unknown, the run too short, or no mode near 1 was found.
    """
    if name not in CRITERIA:
        raise KoopscopeError(f"unknown criterion {name!r}", f"choose one of {', '.join(CRITERIA)}")
    return RandomScores(seed) if name == RANDOM else _RECORDED[name](analysis)


def _empty(analysis: Analysis, columns: int) -> Float64:
    return np.zeros((analysis.description.snapshots, columns))


def _magnitude(analysis: Analysis) -> Criterion:
    """|w|: global magnitude pruning, the baseline."""
    coefficients = _empty(analysis, 1)
    coefficients[analysis.window.stop - 1, 0] = 1.0
    return Combinations("magnitude", coefficients)


def _gradient_magnitude(analysis: Analysis) -> Criterion:
    """|w d|, with the last recorded increment d in place of the gradient, which is not recorded."""
    _require(analysis, 2, "the last increment")
    last = analysis.window.stop - 1
    coefficients = _empty(analysis, 2)
    coefficients[last, :] = 1.0
    coefficients[last - 1, 1] = -1.0
    return Combinations("gradient-magnitude", coefficients)


def _koopman_magnitude(analysis: Analysis) -> Criterion:
    """|v_1|: KMP of Redman et al. 2022, the mode of the weights whose eigenvalue is 1."""
    spectrum, resting = _resting(analysis)
    column = spectrum.exact_coefficients()[:, [resting]]
    return Combinations(
        "koopman-magnitude", _on_snapshots(analysis, column), _described(spectrum, resting)
    )


def _koopman_gradient(analysis: Analysis) -> Criterion:
    """|v_1 sum_{j>1} (lambda_j - 1) lambda_j^t b_j v_j|: KGP, reconstructed from the paper's words.

    The sum is the step that the decaying modes still predict from the last snapshot on, a gradient
    as the trajectory shows it.
    """
    spectrum, resting = _resting(analysis)
    columns = spectrum.exact_coefficients()
    others = np.flatnonzero(np.isfinite(columns).all(axis=0))  # without eigenvalues of zero
    others = others[others != resting]
    if not len(others):
        raise KoopscopeError(
            "the weights have no mode besides the one at rest to take a gradient from",
            "use --criterion koopman-magnitude, or a higher --rank",
        )
    eigenvalues = spectrum.eigenvalues[others]
    still_to_come = (eigenvalues - 1.0) * eigenvalues**spectrum.pairs * spectrum.coordinates[others]
    pair = np.stack([columns[:, resting], columns[:, others] @ still_to_come], axis=1)
    return Combinations(
        "koopman-gradient", _on_snapshots(analysis, pair), _described(spectrum, resting)
    )


def _destination(analysis: Analysis) -> Criterion:
    """|w + forecast|: the size that the weight is heading for, ``AHEAD`` snapshots from now.

    The forecast is that of the damped law of the increments, as ``koopscope forecast`` makes it.
    """
    _require(analysis, 3, "a law of the increments")
    first, last = analysis.window.first, analysis.window.stop - 1
    delay = DELAY if analysis.window.snapshots >= LONG_ENOUGH else 1
    moved = law_of_motion(analysis.gram(), delay=delay).coefficients([AHEAD])[:, 0]
    coefficients = _empty(analysis, 1)
    coefficients[last, 0] = 1.0
    coefficients[first + 1 : last + 1, 0] += moved
    coefficients[first:last, 0] -= moved
    return Combinations("destination", coefficients)


def _forecast_magnitude(analysis: Analysis) -> Criterion:
    """|w + sum_j b_j lambda_j / (1 - lambda_j) v_j|: where the increments' spectrum comes to rest.

    The increments' modes start from the last increment; slower ones are bounded in magnitude, for
    a drift has no limit.
    """
    _require(analysis, 3, "a spectrum of the increments")
    spectrum = analysis.spectrum(observable="increments")
    coefficients = _empty(analysis, 1)
    last = analysis.window.stop - 1
    coefficients[last, 0] = 1.0
    if spectrum.rank:
        total = spectrum.projected_coefficients() @ limit_of_modes(spectrum)
        # A combination of increments is a combination of snapshots: d_t = w_{t+1} - w_t.
        first = analysis.window.first
        coefficients[first + 1 : first + 1 + spectrum.pairs, 0] += total.real
        coefficients[first : first + spectrum.pairs, 0] -= total.real
    return Combinations("forecast-magnitude", coefficients)


#: The criteria that rest on what was recorded.
_RECORDED: dict[str, Callable[[Analysis], Criterion]] = {
    "destination": _destination,
    "koopman-magnitude": _koopman_magnitude,
    "koopman-gradient": _koopman_gradient,
    "forecast-magnitude": _forecast_magnitude,
    "magnitude": _magnitude,
    "gradient-magnitude": _gradient_magnitude,
}

RANDOM = "random"

#: Every criterion, by its name on the command line.
CRITERIA = (*_RECORDED, RANDOM)


def _on_snapshots(analysis: Analysis, columns: Complex128) -> Float64 | Complex128:
    """Spread coefficients on y_1 .. y_m over the run's snapshots; real where all of them are."""
    first = analysis.window.first + 1
    coefficients = _empty(analysis, columns.shape[1]).astype(np.complex128)
    coefficients[first : first + len(columns)] = columns
    # A real eigenvalue's mode is real; LAPACK may still hand it over with zeros beside it.
    return coefficients if coefficients.imag.any() else coefficients.real.copy()


def _described(spectrum: Spectrum, index: int) -> RestingMode:
    fastest = float(np.abs(spectrum.moving).max(initial=0.0))
    return RestingMode(float(spectrum.residuals[index]), index, spectrum.rank, fastest)


def _resting(analysis: Analysis) -> tuple[Spectrum, int]:
    _require(analysis, 3, "a spectrum of the weights")
    spectrum = analysis.spectrum(observable="weights")
    if spectrum.resting is None or not spectrum.has_resting_place:
        why = "nothing moved" if not spectrum.rank else "a second eigenvalue is 1, so they drift"
        raise KoopscopeError(
            f"the law of the weights has no resting place to rank them by: {why}",
            "use --criterion magnitude, which always works",
        )
    return spectrum, spectrum.resting


def _require(analysis: Analysis, snapshots: int, what: str) -> None:
    count = analysis.window.snapshots
    if count < snapshots:
        raise KoopscopeError(
            f"{count} usable snapshot{' is' if count == 1 else 's are'} too few for {what}",
            f"it takes {snapshots}; use --criterion magnitude, or prune at a later step with --at",
        )
