"""How each unit's weights moved early and late in a run: what products over a tensor do not tell.

A unit is one index of one axis of a tensor. Its moments over two spans of the run add up over any
blocks of weights, so they come with the pass, whatever parts it is made of. Decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.spectra.changes import Values

#: Tensors with more units (large vocabularies) are not looked at unit by unit.
MOST_UNITS = 2**16

#: Numbers kept for each unit: <d, d>, <d, w> and <w, w> over each of two spans.
MOMENTS = 6


@dataclass(frozen=True)
class UnitAxis:
    """Which axis of a tensor of some shape numbers its units."""

    shape: tuple[int, ...]
    axis: int

    @property
    def units(self) -> int:
        """How many there are."""
        return self.shape[self.axis]

    def sums(self, start: int, values: Float64) -> Float64:
        """Return [units] sums of values that belong to the flattened weights from ``start`` on."""
        inner = math.prod(self.shape[self.axis + 1 :])
        # Neighbouring weights of one unit are a stretch of ``inner``; the first may be cut short.
        head = min(-start % inner, len(values))
        firsts = np.arange(head, len(values), inner)
        if head:
            firsts = np.concatenate([[0], firsts])
        stretches = values if inner == 1 else np.add.reduceat(values, firsts)
        first = start // inner % self.units
        padded = np.zeros(-(-(first + len(stretches)) // self.units) * self.units)
        padded[first : first + len(stretches)] = stretches
        summed: Float64 = padded.reshape(-1, self.units).sum(axis=0)
        return summed


@dataclass(frozen=True)
class UnitMoments:
    """Moments of each unit's weights over the first and over the last quarter of a run.

    Attributes
    ----------
    values
        float64 [2, 3, units]: over each span, with w the unit's weights at its begin and d by how
        much they changed until its end, <d, d>, <d, w> and <w, w>.
    """

    values: Float64

    @classmethod
    def of(cls, values: Values, start: int, axis: UnitAxis) -> UnitMoments:
        """Return the moments of a block (T, n) that begins at a flattened weight."""
        moments = np.zeros((2, 3, axis.units))
        for span, (begin, end) in enumerate(spans(len(values))):
            before = values[begin].astype(np.float64)
            with np.errstate(all="ignore"):
                moved = values[end].astype(np.float64) - before
                for row, products in enumerate((moved * moved, moved * before, before * before)):
                    moments[span, row] = axis.sums(start, products)
        return cls(moments)

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.values.shape[2])

    def __add__(self, other: UnitMoments) -> UnitMoments:
        """Join the moments of disjoint weights of the same units."""
        return UnitMoments(self.values + other.values)

    def turned(self, span: int) -> Float64:
        """Return [units] by how far each unit moved in a span other than by growing or shrinking.

        The length of d without its part along w: what weight decay alone does is no motion.
        """
        moved, along, length = self.values[span]
        parallel = np.divide(along**2, length, out=np.zeros_like(along), where=length > 0.0)
        turned: Float64 = np.sqrt(np.maximum(moved - parallel, 0.0))
        return turned

    def stretched(self, span: int) -> Float64:
        """Return [units] by what part of itself each unit grew along its own direction."""
        _, along, length = self.values[span]
        parts: Float64 = np.divide(along, length, out=np.zeros_like(along), where=length > 0.0)
        return parts


@dataclass(frozen=True)
class UnitCounts:
    """How many units of a sample stand still, as it was counted while a run was recorded.

    Attributes
    ----------
    judged
        Units of the sample; 0 where the layer as a whole stood still.
    dead, never
        Of those, how many stood still in the last quarter, and how many of these in the first, too.
    """

    judged: int
    dead: int
    never: int


def spans(snapshots: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the first and the last quarter of so many snapshots, as first and last index."""
    last = snapshots - 1
    quarter = max(1, last // 4)
    return (0, min(quarter, last)), (max(0, last - quarter), last)


def joined_units(
    first: UnitMoments | UnitCounts | None, second: UnitMoments | UnitCounts | None
) -> UnitMoments | None:
    """Join the moments of two sets of weights; ``None`` where they are not of the same units.

    Counts are of one tensor, and not joined.
    """
    if not isinstance(first, UnitMoments) or not isinstance(second, UnitMoments):
        return None
    return first + second if first.units == second.units else None
