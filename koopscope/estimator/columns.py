"""The columns of a data matrix of any size, in coordinates of the space that they span.

A matrix with one column per snapshot is read in blocks of rows, and only T x T numbers of it are
kept: enough for every result that is not itself as long as a column. At most one block of the
matrix is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import GramAccumulator
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.series import columns_of

#: Bytes of one block of rows.
BLOCK_BYTES = 8 * 2**20

#: float64 or complex128.
Numbers = npt.NDArray[Any]

#: An array, or anything with ``shape``, ``dtype`` and slices along its first axis.
Matrix = Any


@dataclass(frozen=True, eq=False)
class Columns:
    """Snapshots as the columns of one matrix, or of two whose columns belong together.

    Attributes
    ----------
    matrices
        X, or X and Y: (*feature axes, snapshots) each, of equal shapes.
    """

    matrices: tuple[Matrix, ...]

    @classmethod
    def of(cls, *data: Any) -> Columns:
        """Check what ``fit`` was given; a list or tuple of snapshots becomes a matrix.

        Raises
        ------
        KoopscopeError
            If a shape or dtype does not fit, or there are too few snapshots.
        """
        matrices = tuple(_matrix(name, given) for name, given in zip("XY", data, strict=False))
        first = matrices[0]
        for name, matrix in zip("XY", matrices, strict=False):
            if tuple(matrix.shape) != tuple(first.shape):
                raise KoopscopeError(
                    f"X has shape {tuple(first.shape)} but {name} {tuple(matrix.shape)}",
                    "column t of Y is what column t of X becomes",
                )
        columns = cls(matrices)
        least = 2 if len(matrices) == 1 else 1
        if columns.snapshots < least or columns.features < 1:
            raise KoopscopeError(
                f"a matrix of shape {tuple(first.shape)} is too small",
                "it takes one feature and two snapshots at least, one per column",
            )
        return columns

    @property
    def snapshots(self) -> int:
        """Number of columns of each matrix."""
        return int(self.matrices[0].shape[-1])

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one snapshot."""
        return tuple(int(length) for length in self.matrices[0].shape[:-1])

    @property
    def features(self) -> int:
        """Number of rows, all feature axes flattened in C order."""
        return math.prod(self.feature_shape)

    @cached_property
    def gram(self) -> SnapshotGram:
        """Inner products of all columns, X's and then Y's: one read.

        Raises
        ------
        KoopscopeError
            If a column holds a value that is not finite.
        """
        accumulator = GramAccumulator(len(self.matrices) * self.snapshots)
        for block in self._joint_blocks():
            accumulator.add(block)
        gram = accumulator.result()
        if not gram.finite.all():
            bad = int(np.flatnonzero(~gram.finite)[0])
            raise KoopscopeError(
                f"column {bad % self.snapshots} of {'XY'[bad // self.snapshots]} holds "
                f"{gram.nonfinite[bad]} values that are not finite",
                "leave such snapshots out",
            )
        return gram

    def coordinates(self) -> Numbers:
        """Return [k, T]: every column of X, then of Y, in an orthonormal basis of their span.

        See ``columns_of``; directions below 1e-7 or so of the leading one are not resolved.
        """
        return columns_of(self.gram)[-self.features :]  # more directions are rounding

    def precise_coordinates(self) -> Numbers:
        """Return what ``coordinates`` does, down to rounding: a second read, several times slower.

        Triangular factors of blocks of rows, stacked and factored again (TSQR, Demmel et al. 2012):
        nothing is squared.
        """
        factor: Numbers | None = None
        for block in self._joint_blocks():
            moved = block.copy()
            np.subtract(block[1:], block[:-1], out=moved[1:])
            rows = moved.T if factor is None else np.vstack([factor, moved.T])
            factor = np.asarray(np.linalg.qr(rows, mode="r"))
        assert factor is not None  # there is one feature at least
        columns: Numbers = factor.cumsum(axis=1)
        return columns

    def _joint_blocks(self) -> Iterator[Numbers]:
        """Yield (all columns, n) blocks of features."""
        for parts in zip(*map(row_blocks, self.matrices), strict=True):
            yield np.ascontiguousarray(np.hstack([rows for _, rows in parts]).T)


def row_blocks(matrix: Matrix) -> Iterator[tuple[int, Numbers]]:
    """Yield (first feature, [n, snapshots]) blocks of a matrix, in float64 or complex128."""
    length, *inner, snapshots = matrix.shape
    width = math.prod(inner)
    wide = np.result_type(matrix.dtype, np.float64)
    step = max(1, BLOCK_BYTES // (wide.itemsize * max(1, snapshots * width)))
    for start in range(0, length, step):
        block: Numbers = np.asarray(matrix[start : start + step])
        yield start * width, block.astype(wide, copy=False).reshape(len(block) * width, snapshots)


def _matrix(name: str, given: Any) -> Matrix:
    if isinstance(given, Sequence):
        given = _stacked(name, given)
    shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
    if shape is None or dtype is None or len(shape) < 2:
        raise KoopscopeError(
            f"{name} is not a matrix but {type(given).__name__} of shape {shape}",
            "give an array or an HDF5 dataset (features, snapshots), or a list of snapshots",
        )
    if np.dtype(dtype).kind not in "fiuc":
        raise KoopscopeError(f"{name} holds {dtype} values", "give real or complex numbers")
    return given


def _stacked(name: str, snapshots: Sequence[Any]) -> Numbers:
    arrays = [np.asarray(snapshot) for snapshot in snapshots]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or not arrays[0].shape:
        listed = ", ".join(str(list(shape)) for shape in sorted(shapes)[:3])
        raise KoopscopeError(
            f"{name} is a list of {len(arrays)} snapshots of shapes {listed or 'none'}",
            "each must be an array, all of one shape",
        )
    return np.stack(arrays, axis=-1)
