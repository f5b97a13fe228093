"""Counts, while a run is recorded, the units of a matrix that stand still although others move.

A sample of units is looked at, each through random sums of some of its incoming weights: a unit
that turns changes them, and one that does not leaves them as they are. Of the past only moments
that the first and the last quarter of the run may begin or end with are remembered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.runs.sketches import MOVES, STILL

#: Units of a matrix that are looked at, and incoming weights of each.
_UNITS, _INPUTS = 64, 256

#: Random sums of a unit's weights. One is lost to the unit's own direction; that all of the other
#: three are a thousandth of their size by chance happens to one unit in a thousand million.
_SUMS = 4

#: Moments of the past lie at most this factor apart.
_SPACING = 1.04


@dataclass(frozen=True)
class UnitSample:
    """Which entries of a flattened tensor are looked at: a table of units and their weights.

    Attributes
    ----------
    places
        Indices, row by row.
    units, inputs
        The table's shape.
    """

    places: npt.NDArray[np.intp]
    units: int
    inputs: int

    @classmethod
    def of(cls, shape: tuple[int, ...], axis: int) -> UnitSample:
        """Return units and weights that lie evenly; ``axis`` numbers the units."""
        count, inner = shape[axis], math.prod(shape[axis + 1 :])
        others = math.prod(shape) // count if count else 0
        units, inputs = min(count, _UNITS), min(others, _INPUTS)
        unit = np.arange(units) * count // max(1, units)
        other = np.arange(inputs) * others // max(1, inputs)
        places = (other // max(1, inner) * count + unit[:, None]) * inner + other % max(1, inner)
        return cls(places.ravel(), units, inputs)


class UnitHistory:
    """What is remembered of the sampled units of one matrix.

    Parameters
    ----------
    signs
        float32, at least ``inputs * 4`` of 1 and -1.
    inputs
        Weights of each unit in the sample.
    """

    def __init__(self, signs: npt.NDArray[np.float32], inputs: int) -> None:
        self._signs = signs[: inputs * _SUMS].reshape(inputs, _SUMS).astype(np.float64)
        self._count = 0
        self._past: dict[int, Float64] = {}

    def add(self, weights: Float64, bias: Float64 | None) -> tuple[float, float, float]:
        """Take the next snapshot; return how many units were judged, are dead, and always were.

        Parameters
        ----------
        weights
            [units, inputs], the sample.
        bias
            [units], where the layer has one.

        Returns
        -------
        Three counts, of the run up to here: 0 judged where the layer as a whole stands still, NaN
        where that is not known.
        """
        now = self._count
        self._count += 1
        if not np.isfinite(weights).all() or (bias is not None and not np.isfinite(bias).all()):
            return math.nan, math.nan, math.nan
        sums = np.empty((len(weights), _SUMS + 1))
        np.matmul(weights, self._signs, out=sums[:, :_SUMS])
        sums[:, _SUMS] = 0.0 if bias is None else bias
        self._past[now] = sums
        self._thin(now)
        return self._judged(now)

    def _thin(self, now: int) -> None:
        """Forget what no quarter of this or a longer run begins or ends with."""
        kept = sorted(self._past)
        for before, index, after in zip(kept[:-2], kept[1:-1], kept[2:], strict=True):
            if index < 0.9 * (now // 4) or (before in self._past and after < _SPACING * before):
                del self._past[index]

    def _judged(self, now: int) -> tuple[float, float, float]:
        quarter = max(1, now // 4)
        late = self._moving(self._nearest(now - quarter), now)
        if late is None:
            return 0.0, 0.0, 0.0
        early = self._moving(0, self._nearest(quarter)) if 0 in self._past else None
        dead = ~late
        never = np.zeros_like(dead) if early is None else dead & ~early
        return float(len(dead)), float(dead.sum()), float(never.sum())

    def _nearest(self, index: int) -> int:
        return min(self._past, key=lambda each: abs(each - index))

    def _moving(self, begin: int, end: int) -> npt.NDArray[np.bool_] | None:
        """Return bool [units], which units turn between two moments; ``None`` if hardly any does.

        Growing or shrinking along itself, as weight decay does, is no motion, and neither is what
        the same decay does to a bias.
        """
        before, after = self._past[begin], self._past[end]
        if begin == end or len(before) < 2:
            return None
        weights, moved = before[:, :_SUMS], (after - before)[:, :_SUMS]
        square = np.square(weights).sum(axis=1)
        along = (moved * weights).sum(axis=1)
        part = np.divide(along, square, out=np.zeros_like(along), where=square > 0.0)
        turned = np.sqrt(np.square(moved - part[:, None] * weights).sum(axis=1))
        typical = _rms(turned)
        if not typical > MOVES * _rms(np.sqrt(square)):
            return None
        own = np.abs((after - before)[:, _SUMS] - part * before[:, _SUMS])
        moving: npt.NDArray[np.bool_] = (turned > STILL * typical) | (own > STILL * _rms(own))
        return moving


def _rms(values: Float64) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
