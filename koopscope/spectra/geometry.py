"""The geometry of a trajectory: how far, how straight and how fast, at every snapshot at once.

Everything follows from the distances between snapshots, which the Gram matrix holds. Each statistic
is causal: its value at snapshot t uses snapshots 0 .. t alone. Never sees a loss or a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.spectra.gram import SnapshotGram

#: Snapshots that "recent" statistics look back on at most; younger runs use all they have.
WINDOW = 16

#: Increments that "now" averages over.
NOW = 4

#: Ratios and their logarithms stay within what a table can resolve.
_FLOOR = 1e-6


@dataclass(frozen=True)
class Geometry:
    """Distances and angles of one scope's snapshots w_0 .. w_{T-1}.

    Attributes
    ----------
    gram
        Its inner products; every snapshot must be finite.
    """

    gram: SnapshotGram

    @cached_property
    def anchored(self) -> Float64:
        """[T, T] products of w_t - w_0, real parts: what distances and angles are made of."""
        return np.real(self.gram.anchored())

    @cached_property
    def squares(self) -> Float64:
        """[T] squared distances from w_0."""
        return np.maximum(np.diagonal(self.anchored), 0.0)

    @cached_property
    def speeds(self) -> Float64:
        """[T-1] lengths of the increments."""
        return self.gram.speeds()

    @cached_property
    def path(self) -> Float64:
        """[T] length of the way up to each snapshot."""
        return np.concatenate([[0.0], self.speeds.cumsum()])

    @cached_property
    def norms(self) -> Float64:
        """[T] lengths of the snapshots themselves."""
        along = np.concatenate([[0.0], np.real(self.gram.anchor_increments).cumsum()])
        return np.sqrt(np.maximum(self.gram.anchor_square + 2.0 * along + self.squares, 0.0))

    @cached_property
    def cosines(self) -> Float64:
        """[T-1, T-1] cosines between increments; 0 where one of them is zero."""
        lengths = np.where(self.speeds > 0.0, self.speeds, np.inf)
        return np.real(self.gram.increments) / lengths[:, None] / lengths

    def neighbours(self, lag: int) -> Float64:
        """Return [T-1-lag] cosines between increments ``lag`` apart."""
        lengths = np.where(self.speeds > 0.0, self.speeds, np.inf)
        products = np.real(np.diagonal(self.gram.increments, lag))
        found: Float64 = products / lengths[: len(products)] / lengths[lag:]
        return found

    def distance(self, s: npt.NDArray[np.intp], t: npt.NDArray[np.intp]) -> Float64:
        """Return float64, |w_t - w_s| for two arrays of snapshots of one shape."""
        between = self.squares[s] + self.squares[t] - 2.0 * self.anchored[s, t]
        return np.sqrt(np.maximum(between, 0.0))


def over(part: Float64, total: Float64) -> Float64:
    """Return part / total; 0 where the total is not positive."""
    return np.divide(part, total, out=np.zeros_like(part), where=total > 0.0)


def _log(values: Float64) -> Float64:
    return np.log(np.maximum(values, _FLOOR))


def bounded_log(part: Float64, whole: Float64) -> Float64:
    """Return log(part / whole) within +-4; 0 where either is nothing."""
    known = (part > 0.0) & (whole > 0.0)
    ratio = np.divide(part, whole, out=np.ones_like(part), where=known)
    return np.clip(np.log(ratio, out=np.zeros_like(part), where=known), -4.0, 4.0)


def course(geometry: Geometry) -> dict[str, Float64]:
    """Return the causal statistics of a run's course, each float64 [T].

    Returns
    -------
    directness
        Straight distance over way, last 16 snapshots: 1 drifts, near 0 hovers.
    directness_all
        The same since the first snapshot.
    recent_share, half_share
        Distance covered in the last quarter (half) of the snapshots so far, as part of the
        distance from the start. Scale-free in time: 0.25 (0.5) for a steady drift.
    recent_directness
        Straight distance over way in the last quarter.
    turn
        Cosine between the last quarter's displacement and the way before it.
    speed
        log(mean of the last four increments / mean of all).
    speed_trend
        log(mean of the last four increments / mean of those eight before).
    cosine, cosine_far
        Mean cosine of successive increments, and of those four apart, last 16 snapshots.
    spread
        Effective number of directions of the last 16 increments (participation ratio), over 16.
    travel
        log(distance from the start / norm at the start).
    growth
        log(norm now / norm at the start).
    doubling
        log(distance covered in the last half of the snapshots so far / in the quarter before):
        0.69 for a steady drift, 0.35 for diffusion, 0 for a way that goes with log t, and below
        for one that comes to rest.
    doubling_turn
        Cosine between those two.
    diffusion
        log(distance covered in the last quarter / in the last eighth): 0.69 for a drift, 0.35 for
        diffusion, 0 for a wandering about one place.
    path_half, path_quarter
        Share of the way that lies in the last half (quarter) of the snapshots.
    outward
        Growth of the norm over the last quarter, as part of the distance covered in it.
    step
        log(distance covered in the last quarter / norm now).
    """
    T = geometry.gram.snapshots
    t = np.arange(T)
    back = np.minimum(np.maximum(NOW, t // 4), t)
    window = np.minimum(WINDOW, t)
    start = np.zeros(T, np.intp)
    from_start = geometry.distance(start, t)
    recent = geometry.distance(t - back, t)
    path, norms = geometry.path, geometry.norms
    before = geometry.distance(start, t - back)
    along = geometry.anchored[t, t - back] - geometry.squares[t - back]
    now = _mean_of_last(geometry.speeds, t, NOW)
    earlier = _mean_of_last(geometry.speeds, np.maximum(t - 2 * NOW, 1), NOW)
    half, quarter = t // 2, t // 4
    last_half, before_half = geometry.distance(half, t), geometry.distance(quarter, half)
    eighth = geometry.distance(t - (back + 1) // 2, t)
    anchored = geometry.anchored
    both = anchored[t, half] - anchored[t, quarter] - anchored[half, half] + anchored[half, quarter]
    return {
        "directness": over(geometry.distance(t - window, t), path - path[t - window]),
        "directness_all": over(from_start, path),
        "recent_share": over(recent, from_start),
        "half_share": over(geometry.distance(t // 2, t), from_start),
        "recent_directness": over(recent, path - path[t - back]),
        "turn": over(along, recent * before),
        "speed": _log(over(now, over(path, t.astype(float)))),
        "speed_trend": _log(over(now, earlier)),
        "cosine": _mean_of_last(geometry.neighbours(1), t - 1, WINDOW - 1),
        "cosine_far": _mean_of_last(geometry.neighbours(NOW), t - NOW, WINDOW - NOW),
        "spread": _spread(geometry, t),
        "travel": _log(over(from_start, np.maximum(norms[0], _FLOOR * norms))),
        "growth": _log(over(norms, np.maximum(norms[0], _FLOOR * norms))),
        "doubling": bounded_log(last_half, before_half),
        "doubling_turn": over(both, last_half * before_half),
        "diffusion": bounded_log(recent, eighth),
        "path_half": over(path - path[half], path),
        "path_quarter": over(path - path[t - back], path),
        "outward": over(norms - norms[t - back], recent),
        "step": _log(over(recent, np.maximum(norms, _FLOOR * from_start))),
    }


def _mean_of_last(values: Float64, stop: npt.NDArray[np.intp], count: int) -> Float64:
    """Return the mean of up to ``count`` values before each ``stop``; 0 where there are none."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    high = np.clip(stop, 0, len(values))
    low = np.maximum(high - count, 0)
    return over(sums[high] - sums[low], (high - low).astype(float))


def _spread(geometry: Geometry, t: npt.NDArray[np.intp]) -> Float64:
    """Participation ratio (sum of eigenvalues)^2 / sum of their squares, over the window."""
    lags = np.arange(min(WINDOW, max(1, len(t) - 1)))[:, None]
    moves = np.arange(len(t) - 1)
    later = np.minimum(moves + lags, len(t) - 2)
    lengths = np.where(geometry.speeds > 0.0, geometry.speeds, np.inf)
    cosines = np.real(geometry.gram.increments[moves, later]) / lengths / lengths[later]
    cosines[moves + lags > later] = 0.0
    sums = np.zeros((len(lags), len(t)))
    np.cumsum(np.square(cosines), axis=1, out=sums[:, 1:])
    # Pairs of two increments among the last WINDOW: both before t, the earlier one inside.
    high = np.maximum(t - lags, 0)
    low = np.minimum(np.maximum(t - WINDOW, 0), high)
    inside = np.take_along_axis(sums, high, 1) - np.take_along_axis(sums, low, 1)
    block = 2.0 * inside.sum(axis=0) - inside[0]  # every pair of two different ones twice
    along = np.concatenate([[0.0], cosines[0].cumsum()])
    trace = along[t] - along[np.maximum(t - WINDOW, 0)]
    size = np.clip(t, 1, WINDOW).astype(float)
    return over(np.square(trace), block * size)
