"""Where a range of a flattened tensor lies in its axes: the geometry of reading part of a tensor.

Pure arithmetic on shapes; opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Slab:
    """A rectangular part of a tensor that is contiguous in flattened order."""

    start: tuple[int, ...]
    count: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.count)


def slabs(shape: tuple[int, ...], start: int, stop: int) -> Iterator[Slab]:
    """Yield the fewest slabs that make up the flattened range [start, stop), in order.

    At most 2 k - 1 for k axes: the range's ragged beginning, its whole middle, its ragged end.
    """
    if stop <= start:
        return
    if not shape:
        yield Slab((), ())
        return
    inner = math.prod(shape[1:])
    first, offset = divmod(start, inner)
    last, remainder = divmod(stop, inner)
    if first == last:
        yield from _within(first, shape[1:], offset, remainder)
        return
    if offset:
        yield from _within(first, shape[1:], offset, inner)
        first += 1
    if first < last:
        zeros = (0,) * (len(shape) - 1)
        yield Slab((first, *zeros), (last - first, *shape[1:]))
    if remainder:
        yield from _within(last, shape[1:], 0, remainder)


def positions(shape: tuple[int, ...], axis: int, start: int, stop: int) -> npt.NDArray[np.intp]:
    """Return where the flattened elements ``[start, stop)`` of a tensor lie along one axis."""
    stride = math.prod(shape[axis + 1 :])
    return np.arange(start, stop) // stride % shape[axis]


def aligned_ranges(
    shape: tuple[int, ...], chunk: tuple[int, ...], width: int
) -> Iterator[tuple[int, int]]:
    """Yield ranges of at most ``width`` elements, each one slab, cut where chunks are cut.

    A range never straddles a chunk that it could have been spared: reading ends on chunk borders,
    or splits a chunk into even parts where a chunk is larger than ``width``.
    """
    size = math.prod(shape)
    if size <= width:
        if size:
            yield 0, size
        return
    axis, inner = len(shape) - 1, 1
    while inner * shape[axis] <= width:
        inner *= shape[axis]
        axis -= 1
    length, rows = shape[axis], max(1, width // inner)
    if rows >= chunk[axis]:
        borders = list(range(0, length, rows - rows % chunk[axis]))
    else:
        part = math.ceil(chunk[axis] / math.ceil(chunk[axis] / rows))
        borders = [
            row
            for corner in range(0, length, chunk[axis])
            for row in range(corner, min(corner + chunk[axis], length), part)
        ]
    ends = [*borders[1:], length]
    for outer in range(0, size, length * inner):
        for begin, end in zip(borders, ends, strict=True):
            yield outer + begin * inner, outer + end * inner


def _within(index: int, shape: tuple[int, ...], start: int, stop: int) -> Iterator[Slab]:
    for slab in slabs(shape, start, stop):
        yield Slab((index, *slab.start), (1, *slab.count))
