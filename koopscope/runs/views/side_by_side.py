"""Two runs of one network seen as one: the snapshots of the first, followed by the second's.

Their Gram matrix then holds every product of a snapshot of one with a snapshot of the other, from
one pass over both. What is compared weight by weight, snapshot with snapshot, is summed while a
block is there: it would drown in the products. Must never read a weight twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.run import FloatArray, Run, RunDescription, TensorInfo

Indices = npt.NDArray[np.intp]


@dataclass
class TensorDifference:
    """How far one tensor of two runs is apart at the snapshots that are held side by side.

    Attributes
    ----------
    squares
        float64 [K], squared distance at each pair of snapshots; NaN where one is not finite.
    unequal
        int64 [K], numbers that are not the same: weights, or their parts where they are complex.
    """

    squares: npt.NDArray[np.float64]
    unequal: npt.NDArray[np.int64]


class SideBySide(Run):
    """Snapshots 0 .. T1-1 are the first run's, T1 .. T1+T2-1 the second's; leaves both open.

    Parameters
    ----------
    first, second
        The runs.
    pairs
        Which tensor of the second stands beside which of the first; the same shapes. They are
        listed under the first's names.
    aligned
        Indices [K] of snapshots of the first and of the second that are held side by side.

    Attributes
    ----------
    differences
        By tensor, of the weights that were read so far.

    Raises
    ------
    KoopscopeError
        If two tensors of a pair differ in shape, or one alone is complex.
    """

    def __init__(
        self,
        first: Run,
        second: Run,
        pairs: Sequence[tuple[TensorInfo, TensorInfo]],
        aligned: tuple[Indices, Indices],
    ) -> None:
        self.first, self.second = first, second
        for one, other in pairs:
            if one.shape != other.shape or one.is_complex != other.is_complex:
                raise KoopscopeError(
                    f"{one.name} is {_said(one)} in {first.description.path} and {_said(other)} in "
                    f"{second.description.path}",
                    "only tensors of one shape and kind can be held side by side",
                )
        self._partner = {one.name: other for one, other in pairs}
        self._before = first.description.snapshots
        self._aligned = aligned
        count = len(aligned[0])
        self.differences = {
            one.name: TensorDifference(np.zeros(count), np.zeros(count, np.int64))
            for one, _ in pairs
        }
        snapshots = self._before + second.description.snapshots
        self.description = RunDescription(
            path=f"{first.description.path} and {second.description.path}",
            format="two runs side by side",
            steps=np.arange(snapshots, dtype=np.int64),
            tensors=tuple(self._listed(one, other) for one, other in pairs),
        )

    @staticmethod
    def _listed(one: TensorInfo, other: TensorInfo) -> TensorInfo:
        """Return the first's tensor, in the dtype that holds the weights of both."""
        if one.dtype == other.dtype:
            return one
        plain = ["float32" if each.dtype == "bfloat16" else each.dtype for each in (one, other)]
        return replace(one, dtype=np.result_type(*plain).name)

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T1 + T2, stop - start): the first run's rows, then the second's."""
        other = self._partner[tensor.name]
        upper, lower = out[: self._before], out[self._before :]
        self._fill(self.first, replace(tensor, dtype=self._own_dtype(tensor)), start, stop, upper)
        self._fill(self.second, other, start, stop, lower)
        self._compare(tensor.name, upper, lower)

    def _own_dtype(self, tensor: TensorInfo) -> str:
        return next(t.dtype for t in self.first.description.tensors if t.name == tensor.name)

    @staticmethod
    def _fill(run: Run, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        dtype = run.read_dtype(tensor)
        if dtype == out.dtype:
            run.read(tensor, start, stop, out)
            return
        narrow = np.empty(out.shape, dtype)
        run.read(tensor, start, stop, narrow)
        out[...] = narrow

    def _compare(self, name: str, upper: FloatArray, lower: FloatArray) -> None:
        found = self.differences[name]
        for k, (s, t) in enumerate(zip(*self._aligned, strict=True)):
            one, other = upper[s], lower[t]
            if not np.count_nonzero(one != other):
                continue
            one, other = _parts(one), _parts(other)
            with np.errstate(over="ignore", invalid="ignore"):
                off: npt.NDArray[Any] = one - other
                # The same in both: infinite, or not a number.
                off[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
                found.squares[k] += float(np.dot(off, off))
            found.unequal[k] += np.count_nonzero(off)

    def read_dtype(self, tensor: TensorInfo) -> np.dtype[Any]:
        """Return the dtype that holds the weights of both runs."""
        return np.dtype(np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges that the first run reads well."""
        return self.first.cuts(tensor, width)

    def close(self) -> None:
        """Do nothing: both runs belong to somebody else."""


def _parts(values: FloatArray) -> npt.NDArray[Any]:
    """Return real numbers wide enough to be squared: the parts of complex ones one by one."""
    if np.iscomplexobj(values):
        values = np.ascontiguousarray(values).view(values.real.dtype)
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _said(tensor: TensorInfo) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
