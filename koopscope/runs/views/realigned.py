"""A run whose units stand in another order, or at another scale, without a copy of its file.

What moves is an axis of a tensor, whose order is given; weights are read from where they lie, and
nothing is held beyond a block. Must never change a weight that is not named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.runs.run import FloatArray, Run, TensorInfo
from koopscope.runs.sketches import TensorSketch

Indices = npt.NDArray[np.intp]

#: Weights between two that are wanted, up to which both come from one read.
_GAP = 1024

#: The widest stretch that is read for a block of so many weights, in blocks.
_WIDEST = 4


@dataclass(frozen=True)
class AxisOrder:
    """How one axis of a tensor is to be seen.

    Attributes
    ----------
    shape
        The tensor's, or one that splits an axis of it in two.
    axis
        Of ``shape``.
    order
        intp [n]: index k of what is seen is index ``order[k]`` of what is stored.
    scale
        float64 [n], what is seen over what is stored; ``None`` for ones.
    """

    shape: tuple[int, ...]
    axis: int
    order: Indices
    scale: npt.NDArray[np.float64] | None = None


class Realigned(Run):
    """``run`` with some axes of its tensors in another order; leaves it open when it is closed.

    Parameters
    ----------
    run
        The run beneath.
    orders
        By tensor, what happens to its axes: one shape for all axes of a tensor, each at most once.
    """

    def __init__(self, run: Run, orders: Mapping[str, Sequence[AxisOrder]]) -> None:
        self._run = run
        self._orders = {name: axes for name, axes in orders.items() if axes}
        self.description = run.description

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T, stop - start) with those weights of the flattened tensor, as seen."""
        self._seen(tensor, start, stop, out, lambda *at: self._run.read(tensor, *at))

    def read_rows(
        self, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        """Fill ``out`` (len(rows), stop - start) with the weights of some snapshots, as seen."""

        def read(first: int, last: int, into: FloatArray) -> None:
            self._run.read_rows(tensor, first, last, rows, into)

        self._seen(tensor, start, stop, out, read)

    def _seen(
        self,
        tensor: TensorInfo,
        start: int,
        stop: int,
        out: FloatArray,
        read: Callable[[int, int, FloatArray], None],
    ) -> None:
        axes = self._orders.get(tensor.name, ())
        if not axes:
            read(start, stop, out)
            return
        stored, scale = _places(axes, start, stop)
        by_place = np.argsort(stored, kind="stable")
        wanted = stored[by_place]
        found = np.empty(out.shape, out.dtype)
        for first, last in _stretches(wanted, _WIDEST * (stop - start)):
            low, high = int(wanted[first]), int(wanted[last - 1]) + 1
            piece = np.empty((len(out), high - low), out.dtype)
            read(low, high, piece)
            if high - low == last - first:
                found[:, first:last] = piece
            else:
                np.take(piece, wanted[first:last] - low, axis=1, out=found[:, first:last])
        back = np.empty_like(by_place)
        back[by_place] = np.arange(len(by_place))
        np.take(found, back, axis=1, out=out)
        if scale is not None:
            out *= scale.astype(out.real.dtype)

    def sketched(self, tensor: TensorInfo) -> TensorSketch:
        """Return the sketches of the run beneath, whose order cannot be changed."""
        return self._run.sketched(tensor)

    def read_dtype(self, tensor: TensorInfo) -> np.dtype[Any]:
        """Return the dtype in which the run beneath delivers a tensor."""
        return self._run.read_dtype(tensor)

    def volume(self, tensors: Sequence[TensorInfo]) -> int:
        """Return how many bytes are read for these tensors."""
        return self._run.volume(tensors)

    def grain(self, tensor: TensorInfo) -> int:
        """Return how many neighbouring weights the run beneath reads for a single one."""
        return self._run.grain(tensor)

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield the blocks of the run beneath."""
        return self._run.cuts(tensor, width)

    def close(self) -> None:
        """Do nothing: the run beneath belongs to somebody else."""


def _places(
    axes: Sequence[AxisOrder], start: int, stop: int
) -> tuple[Indices, npt.NDArray[np.float64] | None]:
    """Return where the weights [start, stop) are stored, and their scales if they have any."""
    shape = axes[0].shape
    rest = stored = np.arange(start, stop)
    scale: npt.NDArray[np.float64] | None = None
    for each in axes:
        stride = math.prod(shape[each.axis + 1 :])
        own = rest // stride % shape[each.axis]
        stored = stored + (each.order[own] - own) * stride
        if each.scale is not None:
            scale = each.scale[own] if scale is None else scale * each.scale[own]
    return stored, scale


def _stretches(wanted: Indices, widest: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of ``wanted``, ascending places, whose places are read as one stretch."""
    breaks = np.flatnonzero(np.diff(wanted) > _GAP) + 1
    for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(wanted)], strict=True):
        while first < last:
            until = int(np.searchsorted(wanted[first:last], wanted[first] + widest)) + first
            yield first, until
            first = until
