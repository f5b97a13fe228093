"""Drift and scatter: where the mean of many snapshots goes, and how widely they lie about it.

A single increment of a late run is mostly noise; the mean of a quarter of the snapshots is not.
Each statistic is causal: its value at snapshot t uses snapshots 0 .. t alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.spectra.geometry import Geometry, bounded_log, over
from koopscope.spectra.gram import SnapshotGram

Indices = npt.NDArray[np.intp]

#: Slopes of the speed beyond this are cut.
_STEEPEST = 8.0


@dataclass(frozen=True)
class _Means:
    """Products of means of snapshots, from sums over rectangles of the anchored products."""

    sums: Float64
    squares: Float64

    @classmethod
    def of(cls, anchored: Float64) -> _Means:
        T = len(anchored)
        sums = np.zeros((T + 1, T + 1))
        np.cumsum(np.cumsum(anchored, axis=0), axis=1, out=sums[1:, 1:])
        return cls(sums, np.concatenate([[0.0], np.cumsum(np.diagonal(anchored))]))

    def product(self, a: tuple[Indices, Indices], b: tuple[Indices, Indices]) -> Float64:
        """Return <mean of the snapshots [a), mean of the snapshots [b)>, counted from the first."""
        s = self.sums
        whole = s[a[1], b[1]] - s[a[0], b[1]] - s[a[1], b[0]] + s[a[0], b[0]]
        counts = np.maximum(a[1] - a[0], 1) * np.maximum(b[1] - b[0], 1)
        found: Float64 = whole / counts
        return found

    def scatter(self, a: tuple[Indices, Indices]) -> Float64:
        """Return the root mean square distance of the snapshots [a) from their mean."""
        mean = (self.squares[a[1]] - self.squares[a[0]]) / np.maximum(a[1] - a[0], 1)
        found: Float64 = np.sqrt(np.maximum(mean - self.product(a, a), 0.0))
        return found


def course(gram: SnapshotGram) -> dict[str, Float64]:
    """Return the causal statistics of drift, scatter and speed, each float64 [T].

    The last quarter of the snapshots so far is A, the quarter before it B, the one before that C.

    Returns
    -------
    drift_scatter
        log(distance between the means of A and B / their scatters), within +-4 as all ratios here.
    drift_turn
        Cosine between the way from the mean of C to that of B, and from there to that of A.
    drift_share
        log(distance between the means of A and B / distance of A's mean from the start).
    drift_change
        log(distance between the means of A and B / between those of B and C).
    scatter_change, scatter_share
        log(scatter of A / scatter of B); log(scatter of A / distance of its mean from the start).
    cosine_2, cosine_8
        Mean cosine of increments two and eight apart, last 16 snapshots.
    cosine_quarter
        Mean cosine of successive increments in A.
    speed_quarter, speed_half, speed_peak
        log(mean speed in A / in B); log(in the last half / in the first); log(of the last three
        increments / of the fastest three so far).
    speed_slope
        Slope of log speed over log t in the last half: 0 at a constant speed, -1 for a way that
        goes with log t.
    apart, homeward
        log(distance covered in the last half / in the first); log(distance from the start now /
        halfway).
    """
    geometry = Geometry(gram)
    T = gram.snapshots
    t = np.arange(T)
    quarter = np.maximum(1, (t + 1) // 4)
    ends = [np.maximum(t + 1 - k * quarter, 0) for k in range(4)]
    a, b, c = ((ends[k + 1], ends[k]) for k in range(3))
    means = _Means.of(geometry.anchored)
    aa, bb, cc = (means.product(part, part) for part in (a, b, c))
    ab, bc, ac = means.product(a, b), means.product(b, c), means.product(a, c)
    drift = np.sqrt(np.maximum(aa + bb - 2.0 * ab, 0.0))
    before = np.sqrt(np.maximum(bb + cc - 2.0 * bc, 0.0))
    away = np.sqrt(np.maximum(aa, 0.0))
    scatter, earlier = means.scatter(a), means.scatter(b)
    start, half = np.zeros(T, np.intp), t // 2
    return {
        "drift_scatter": bounded_log(drift, scatter + earlier),
        "drift_turn": over(ab - ac - bb + bc, drift * before),
        "drift_share": bounded_log(drift, away),
        "drift_change": bounded_log(drift, before),
        "scatter_change": bounded_log(scatter, earlier),
        "scatter_share": bounded_log(scatter, away),
        "cosine_2": _mean_before(geometry.neighbours(2), t - 2, 14),
        "cosine_8": _mean_before(geometry.neighbours(8), t - 8, 8),
        "cosine_quarter": _mean_before(geometry.neighbours(1), t - 1, quarter),
        **_speeds(geometry.speeds, t, quarter),
        "apart": bounded_log(geometry.distance(half, t), geometry.distance(start, half)),
        "homeward": bounded_log(geometry.distance(start, t), geometry.distance(start, half)),
    }


def _speeds(speeds: Float64, t: Indices, quarter: Indices) -> dict[str, Float64]:
    recent = _mean_before(speeds, t, 3)
    fastest = float(speeds.max(initial=0.0))
    logs = np.log(np.maximum(speeds, 1e-12 * (fastest or 1.0)))
    # The increment that ends at snapshot s has place s in these, and nothing ends at the first.
    slope = _slope(np.concatenate([[0.0], logs]), np.maximum(t // 2, 1), t + 1)
    return {
        "speed_quarter": bounded_log(
            _mean_before(speeds, t, quarter), _mean_before(speeds, t - quarter, quarter)
        ),
        "speed_half": bounded_log(
            _mean_before(speeds, t, t - t // 2), _mean_before(speeds, t // 2, t // 2)
        ),
        "speed_peak": bounded_log(recent, np.maximum.accumulate(recent)),
        "speed_slope": np.clip(slope, -_STEEPEST, _STEEPEST),
    }


def _mean_before(values: Float64, stop: Indices, count: int | Indices) -> Float64:
    """Return the mean of up to ``count`` values before each ``stop``; 0 where there are none."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    high = np.clip(stop, 0, len(values))
    low = np.maximum(high - count, 0)
    return over(sums[high] - sums[low], (high - low).astype(float))


def _slope(y: Float64, low: Indices, high: Indices) -> Float64:
    """Return the slope of y over log t by least squares over the snapshots [low, high)."""
    x = np.log(np.maximum(np.arange(len(y)), 1.0))
    low = np.minimum(low, high)

    def mean(values: Float64) -> Float64:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        found: Float64 = (sums[high] - sums[low]) / np.maximum(high - low, 1)
        return found

    spread = mean(x * x) - mean(x) ** 2
    joint = mean(x * y) - mean(x) * mean(y)
    return np.where(spread > 1e-6, joint / np.maximum(spread, 1e-6), 0.0)
