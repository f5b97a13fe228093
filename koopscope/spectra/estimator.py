"""``koopscope.DMD``: dynamic mode decomposition for those who come from PyDMD, at any size.

The data matrix has one column per snapshot. It is read once, in blocks of rows, into inner
products; every result but ``modes`` and ``reconstructed_data`` follows from those. Must never hold
more of the data than one block, unless asked for an array of that size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope._threads import product_threads
from koopscope._types import Complex128, Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.gram import GramAccumulator, SnapshotGram
from koopscope.spectra.heldout import held_out_rank
from koopscope.spectra.rank import AUTO, RankRule, check_rank_rule, truncation_rank
from koopscope.spectra.series import Series

#: Bytes of one block of rows.
_BLOCK_BYTES = 8 * 2**20

#: What ``fit`` takes: an array, or anything with ``shape``, ``dtype`` and slices of rows.
Matrix = Any


class DMD:
    """Dynamic mode decomposition of the columns of a matrix.

    Parameters
    ----------
    rank
        Truncation, as PyDMD's ``svd_rank``: an integer, 0 (the optimal hard threshold), a fraction
        of energy, -1 (none); or ``auto``, the rank that predicts held-out snapshots best.
    exact
        Exact modes Y V S^-1 w (Tu et al. 2014), not divided by the eigenvalue, as in PyDMD; or
        projected ones, U w.
    dt
        Time between two snapshots, the unit of ``frequency`` and ``growth_rate``.
    svd_rank
        Another name for ``rank``.

    Notes
    -----
    The columns are taken as they are: neither scaled nor centred, nor turned into increments (for
    the spectra that ``koopscope analyze`` reports, see ``koopscope.analyze``). Inner products are
    kept relative to the first column and between neighbours, so motion of 1e-6 of a constant part
    is still resolved, and no data matrix is ever squared with it.
    """

    def __init__(
        self,
        rank: RankRule = 0,
        *,
        exact: bool = False,
        dt: float = 1.0,
        svd_rank: RankRule | None = None,
    ) -> None:
        self.rank_rule = check_rank_rule(rank if svd_rank is None else svd_rank)
        self.exact = exact
        if not dt > 0.0:
            raise KoopscopeError(f"a time step of {dt} is not possible", "dt is a positive number")
        self.dt = dt
        self._data: tuple[Matrix, ...] = ()

    @property
    def svd_rank(self) -> RankRule:
        """The truncation rule asked for; the rank it led to is ``rank``."""
        return self.rank_rule

    @product_threads(1)
    def fit(self, X: Matrix, Y: Matrix | None = None) -> DMD:
        """Decompose ``X``, whose columns follow one another, or the map from ``X`` to ``Y``.

        Parameters
        ----------
        X
            Real (features, snapshots): an array, or an h5py dataset of any size, which must stay
            open for as long as modes are asked for.
        Y
            Of the same shape: column t is what column t of ``X`` becomes.

        Raises
        ------
        KoopscopeError
            If a shape or dtype does not fit, there are fewer than two snapshots, or a value is not
            finite.
        """
        data = (X,) if Y is None else (X, Y)
        features, snapshots = _checked(data)
        gram = _streamed_gram(data)
        if not gram.finite.all():
            bad = int(np.flatnonzero(~gram.finite)[0])
            raise KoopscopeError(
                f"column {bad % snapshots} of {'XY'[bad // snapshots]} holds "
                f"{gram.nonfinite[bad]} values that are not finite",
                "leave such snapshots out",
            )
        coordinates = _coordinates(gram)
        first, then = (
            (coordinates[:, :-1], coordinates[:, 1:])
            if Y is None
            else (coordinates[:, :snapshots], coordinates[:, snapshots:])
        )
        U, S, Vt = np.linalg.svd(first, full_matrices=False)
        pairs = first.shape[1]
        rule = self.rank_rule
        if rule == AUTO:
            series = coordinates if Y is None else first
            rule = held_out_rank(Series("raw", series.T @ series, features, series))
        aspect = min(features, pairs) / max(features, pairs)
        rank = truncation_rank(S, rule, aspect, resolution=pairs * np.finfo(np.float64).eps)
        inverse = Vt[:rank].T / S[:rank]
        self.singular_values: Float64 = S
        self.operator: Float64 = U[:, :rank].T @ then @ inverse
        eigenvalues, W = np.linalg.eig(self.operator)
        self.eigs: Complex128 = eigenvalues.astype(np.complex128)
        self._data = data
        self._snapshots = snapshots
        self._on_then = self.exact
        self._combination: Complex128 = (inverse @ W).astype(np.complex128)
        modes = (then if self.exact else first) @ self._combination
        self.amplitudes: Complex128 = np.linalg.lstsq(
            modes, coordinates[:, 0].astype(np.complex128), rcond=None
        )[0]
        return self

    @property
    def rank(self) -> int:
        """Number of eigenvalues."""
        return len(self._fitted().eigs)

    @property
    def dynamics(self) -> Complex128:
        """complex128 [rank, snapshots]: b_j lambda_j^t."""
        fitted = self._fitted()
        powers: Complex128 = fitted.eigs[:, None] ** np.arange(fitted._snapshots)
        return fitted.amplitudes[:, None] * powers

    @property
    def frequency(self) -> Float64:
        """Cycles per unit of time: Im(log lambda) / (2 pi dt)."""
        cycles: Float64 = np.angle(self._fitted().eigs) / (2.0 * np.pi * self.dt)
        return cycles

    @property
    def growth_rate(self) -> Float64:
        """Exponential rate per unit of time: log|lambda| / dt (PyDMD gives Re(lambda) / dt)."""
        with np.errstate(divide="ignore"):
            rates: Float64 = np.log(np.abs(self._fitted().eigs)) / self.dt
        return rates

    def mode_blocks(self) -> Iterator[tuple[int, Complex128]]:
        """Yield (first feature, complex128 [n, rank]) blocks of the modes: a second read."""
        fitted = self._fitted()
        X = fitted._data[0]
        source, shift = X, 0
        if fitted._on_then:
            source, shift = (X, 1) if len(fitted._data) == 1 else (fitted._data[1], 0)
        pairs = len(fitted._combination)
        for start, rows in _row_blocks(source):
            yield start, rows[:, shift : shift + pairs] @ fitted._combination

    @property
    def modes(self) -> Complex128:
        """complex128 [features, rank], all in memory."""
        return np.concatenate([values for _, values in self.mode_blocks()])

    @property
    def reconstructed_data(self) -> Complex128:
        """complex128 [features, snapshots]: ``modes @ dynamics``, all in memory."""
        rebuilt: Complex128 = self.modes @ self.dynamics
        return rebuilt

    def _fitted(self) -> DMD:
        if not self._data:
            raise KoopscopeError("this DMD was not fitted", "call fit(X) first")
        return self


def _checked(data: tuple[Matrix, ...]) -> tuple[int, int]:
    for name, matrix in zip("XY", data, strict=False):
        shape, dtype = getattr(matrix, "shape", None), getattr(matrix, "dtype", None)
        if shape is None or dtype is None or len(shape) != 2:
            raise KoopscopeError(
                f"{name} is not a matrix but {type(matrix).__name__} of shape {shape}",
                "give an array or an HDF5 dataset (features, snapshots)",
            )
        if np.dtype(dtype).kind not in "fiu":
            raise KoopscopeError(f"{name} holds {dtype} values", "only real numbers are supported")
        if tuple(shape) != tuple(data[0].shape):
            raise KoopscopeError(
                f"X has shape {tuple(data[0].shape)} but Y {tuple(shape)}",
                "column t of Y is what column t of X becomes",
            )
    features, snapshots = data[0].shape
    least = 2 if len(data) == 1 else 1
    if snapshots < least or features < 1:
        raise KoopscopeError(
            f"a matrix of shape {(features, snapshots)} is too small",
            "it takes one feature and two snapshots at least, one per column",
        )
    return int(features), int(snapshots)


def _row_blocks(matrix: Matrix) -> Iterator[tuple[int, Float64]]:
    features, snapshots = matrix.shape
    rows = max(1, _BLOCK_BYTES // (8 * snapshots))
    for start in range(0, features, rows):
        block: npt.NDArray[Any] = np.asarray(matrix[start : start + rows])
        yield start, block.astype(np.float64, copy=False)


def _streamed_gram(data: tuple[Matrix, ...]) -> SnapshotGram:
    """Return the inner products of all columns, X's and then Y's."""
    accumulator = GramAccumulator(sum(matrix.shape[1] for matrix in data))
    for parts in zip(*map(_row_blocks, data), strict=True):
        accumulator.add(np.ascontiguousarray(np.hstack([rows for _, rows in parts]).T))
    return accumulator.result()


def _coordinates(gram: SnapshotGram) -> Float64:
    """Return float64 [T, T]: the columns in an orthonormal basis of their span.

    The first column and the increments span it. Their Gram matrix is scaled to a unit diagonal
    before its root is taken, so small increments are resolved as well as the large first column.
    """
    T = gram.snapshots
    basis = np.empty((T, T))
    basis[0, 0], basis[0, 1:] = gram.anchor_square, gram.anchor_increments
    basis[1:, 0], basis[1:, 1:] = gram.anchor_increments, gram.increments
    scales = np.sqrt(np.maximum(np.diagonal(basis), 0.0))
    scales = np.where(scales > 0.0, scales, 1.0)
    squares, directions = np.linalg.eigh(basis / scales[:, None] / scales)
    resolved = np.where(squares > T * np.finfo(np.float64).eps * squares[-1], squares, 0.0)
    root = np.sqrt(resolved)[:, None] * directions.T * scales
    columns: Float64 = root.cumsum(axis=1)
    return columns
