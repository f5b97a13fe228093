"""A tensor as it is handed over for sketching: all of it, or the part that one process holds.

Knows shapes and places, and how to get at the words without copying them; no projection.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from koopscope.errors import KoopscopeError


@dataclass(frozen=True)
class Part:
    """The part of a tensor that this process holds: a box of it.

    Parameters
    ----------
    values
        The array or tensor, of any framework.
    shape
        Of the whole tensor.
    start
        Index of the part's first entry along each axis of the whole.

    Raises
    ------
    KoopscopeError
        If the box does not lie inside the whole.
    """

    values: Any
    shape: tuple[int, ...]
    start: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "start", tuple(int(n) for n in self.start))
        own = tuple(int(n) for n in getattr(self.values, "shape", ()))
        fits = len(own) == len(self.shape) == len(self.start) and all(
            first >= 0 and first + length <= size
            for first, length, size in zip(self.start, own, self.shape, strict=False)
        )
        if not fits:
            raise KoopscopeError(
                f"a part of shape {list(own)} from {list(self.start)} on does not lie inside "
                f"{list(self.shape)}",
                "give the whole tensor's shape, and where the part begins along each axis",
            )


def runs_of(
    own: tuple[int, ...], shape: tuple[int, ...], start: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    """Yield (place in the flattened part, place in the flattened whole, length) of each run.

    Parameters
    ----------
    own, shape, start
        The part's shape, the whole's, and the part's first entry.
    """
    inner = len(shape)
    while inner and own[inner - 1] == shape[inner - 1]:
        inner -= 1
    # Axes from ``inner`` on are whole; the axis before them is one run per index of those outside.
    tail = math.prod(shape[inner:])
    length = tail * (own[inner - 1] if inner else 1)
    if not length or not math.prod(own):
        return
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    outer = [range(n) for n in own[: max(0, inner - 1)]]
    for place, index in enumerate(itertools.product(*outer)):
        begins = [*index, *([0] * (len(shape) - len(index)))]
        where = sum(
            (first + offset) * stride
            for first, offset, stride in zip(start, begins, strides, strict=True)
        )
        yield place * length, where, length
