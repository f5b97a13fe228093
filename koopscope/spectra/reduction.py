"""The leading directions of an observable's time series, and the law of motion in them.

Holds what fitting, forecasting and held-out tests share. ``reduce`` chooses between three kinds:
linear laws y' = K y from inner products, linear laws from columns (raw weights, whose products
would lose the motion), and affine laws y' = A y + c, which hold the eigenvalue 1 whatever is cut
off. Arrays are float64, or complex128 where the snapshots are complex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from koopscope._types import Complex128, Float64
from koopscope.spectra.gram import Products
from koopscope.spectra.rank import (
    RankRule,
    check_rank_rule,
    gram_resolution,
    numerical_rank,
    truncation_rank,
)
from koopscope.spectra.roots import roots
from koopscope.spectra.series import Series

#: An eigenvalue of the moving part nearer to 1 than this is a drift: there is no resting place.
DRIFT = 1e-8


@dataclass(frozen=True)
class Reduction:
    """X = (y_0 .. y_{m-1}) with columns divided by ``scales``, as U S V^*; Y = (y_1 .. y_m).

    Columns are scaled to unit norm, so that truncation does not depend on the norms of snapshots
    (Drmac, Mezic, Mohr 2018). Where there are as many pairs as weights or more, they are all
    divided by the same number instead: the law is then a least-squares fit over pairs, in which
    scaling would weigh each by 1 / |y_t|^2, and that of a single number would be a mean of ratios.

    Attributes
    ----------
    series
        y_0 .. y_{n-1} with n > m; what lies beyond the pairs is not fitted.
    scales
        float64 [m]; 1 where a column is zero.
    singular_values
        float64 [m], descending; only the leading ones where no more were needed.
    right
        [m, m], the columns of V; only the leading ones where no more were needed.
    """

    series: Series
    scales: Float64
    singular_values: Float64
    right: Products

    #: Coordinates that are the same for every value: 1 for the constant of an affine law.
    constants: ClassVar[int] = 0

    @property
    def pairs(self) -> int:
        """Number m of pairs (y_t, y_{t+1})."""
        return len(self.scales)

    @property
    def is_tall(self) -> bool:
        """Whether there are as many pairs as entries of a value, or more."""
        return self.series.size <= self.pairs

    @property
    def numerical_rank(self) -> int:
        """Number of coordinates that can be told from rounding; 0 where nothing moves."""
        return numerical_rank(self.singular_values, gram_resolution(self.pairs))

    def rank(self, rule: RankRule) -> int:
        """Return how many coordinates a truncation rule keeps; ``auto`` must be resolved."""
        aspect = self.pairs / max(self.series.size, self.pairs)
        return truncation_rank(self.singular_values, rule, aspect, gram_resolution(self.pairs))

    def basis(self, rank: int) -> Products:
        """Return [m, rank]: direction u_j = sum_t basis[t, j] y_t."""
        scaled: Products = self.right[:, :rank] / self.singular_values[:rank]
        return scaled / self.scales[:, None]

    def coordinates(self, rank: int) -> Products:
        """Return [rank, n]: every value in the leading directions."""
        coordinates: Products = self.basis(rank).conj().T @ self.series.gram[: self.pairs]
        return coordinates

    def operator(self, rank: int) -> Products:
        """Return [rank, rank], U^* Y V S^-1: the law of motion of the coordinates."""
        images = self.coordinates(rank)[:, 1 : self.pairs + 1]
        moved: Products = images @ self.basis(rank)
        return moved

    def eigen(self, rank: int) -> tuple[Complex128, Complex128]:
        """Return the operator's eigenvalues [rank] and eigenvectors [rank, rank]."""
        values, vectors = np.linalg.eig(self.operator(rank))
        return values.astype(np.complex128), vectors.astype(np.complex128)

    def residuals(self, values: Complex128, vectors: Complex128) -> Float64:
        """Return float64 [r]: how far eigenpairs are from being ones on the fitted pairs.

        |Y z - lambda X z| / |X z|. Where the pairs are as many as the weights or more, z can be
        chosen so that this is 0 whatever the data, and the residual is that of the eigenfunction
        over the pairs instead: |phi(Y) - lambda phi(X)| / |phi(X)| (Colbrook's ResDMD). NaN where
        even that is 0 by construction: no more pairs than eigenvalues.
        """
        if not self.is_tall:
            return self._ritz_residuals(values, vectors)
        if self.pairs <= len(values):
            return np.full(len(values), np.nan)
        coordinates = self.coordinates(len(values))[:, : self.pairs + 1]
        return function_residuals(values, vectors, coordinates, self.constants)

    def _ritz_residuals(self, values: Complex128, vectors: Complex128) -> Float64:
        """|Y z - lambda X z| for |X z| = 1.

        The Ritz value is the projection of Y z onto X z's space, so by Pythagoras the squared
        residual is |Y z|^2 - |lambda|^2: it needs no product of X and Y and is never negative but
        for rounding.
        """
        z = self.basis(len(values)) @ vectors
        lengths = _squares(self.series.gram[1 : self.pairs + 1, 1 : self.pairs + 1], z)
        residuals: Float64 = np.sqrt(np.maximum(lengths - np.abs(values) ** 2, 0.0))
        return residuals


@dataclass(frozen=True)
class ColumnReduction(Reduction):
    """The same from the columns themselves, where their products would lose the motion.

    Attributes
    ----------
    left
        [k, m], the columns of U.
    """

    left: Products

    @property
    def _columns(self) -> Products:
        assert self.series.columns is not None
        return self.series.columns

    @property
    def _resolution(self) -> float:
        return float(self.pairs * np.finfo(np.float64).eps)

    @property
    def numerical_rank(self) -> int:
        """Number of coordinates that can be told from rounding; 0 where all values are 0."""
        return numerical_rank(self.singular_values, self._resolution)

    def rank(self, rule: RankRule) -> int:
        """Return how many coordinates a truncation rule keeps; ``auto`` must be resolved."""
        aspect = self.pairs / max(self.series.size, self.pairs)
        return truncation_rank(self.singular_values, rule, aspect, self._resolution)

    def coordinates(self, rank: int) -> Products:
        """Return [rank, n]: every value in the leading directions."""
        coordinates: Products = self.left[:, :rank].conj().T @ self._columns
        return coordinates

    def _ritz_residuals(self, values: Complex128, vectors: Complex128) -> Float64:
        z = self.basis(len(values)) @ vectors
        off = self._columns[:, 1 : self.pairs + 1] @ z
        off -= values * (self._columns[:, : self.pairs] @ z)
        residuals: Float64 = np.linalg.norm(off, axis=0)
        return residuals


@dataclass(frozen=True)
class AffineReduction(Reduction):
    """The affine law y' = A y + c: means are subtracted, directions are those of what is left.

    The first coordinate is a constant, so that the law is a linear one of the coordinates; its
    eigenvalue is 1 exactly at every rank, and its mode is the fixed point (I - A)^-1 c. A rank
    counts it. Columns of what is left are all divided by their root mean square, which is also the
    constant: the fit is least squares over pairs.

    Attributes
    ----------
    about_mean
        [n, n], the products of y_0 .. y_{n-1} less the mean of X.
    """

    about_mean: Products

    constants: ClassVar[int] = 1

    @property
    def numerical_rank(self) -> int:
        """Number of coordinates, the constant counted; 0 where nothing moves."""
        directions = numerical_rank(self._scattered, gram_resolution(self.pairs - 1))
        return directions + 1 if directions else 0

    @property
    def _scattered(self) -> Float64:
        """Singular values of what is left after the mean, which has one dimension less."""
        return self.singular_values[: self.pairs - 1]

    def rank(self, rule: RankRule) -> int:
        """Return how many coordinates a truncation rule keeps, the constant counted."""
        rule = check_rank_rule(rule)
        available = self.numerical_rank
        if rule == -1 or not available:
            return available
        if isinstance(rule, int) and rule > 0:
            return min(rule, available)
        aspect = self.pairs / max(self.series.size, self.pairs)
        resolution = gram_resolution(self.pairs - 1)
        return 1 + truncation_rank(self._scattered, rule, aspect, resolution)

    def basis(self, rank: int) -> Products:
        """Return [m, rank]: of the constant the mean of y_0 .. y_{m-1} over itself.

        Coordinates z stand for the value sum_j z_j u_j.
        """
        columns: Products = np.empty((self.pairs, rank), self.right.dtype)
        columns[:, :1] = 1.0 / (self.pairs * self.scales[:, None])
        columns[:, 1:] = self._directions(rank)
        return columns

    def coordinates(self, rank: int) -> Products:
        """Return [rank, n]: the constant, then every value's distance from the mean."""
        coordinates: Products = np.empty((rank, len(self.about_mean)), self.about_mean.dtype)
        coordinates[:1] = self.scales[0]
        coordinates[1:] = self._directions(rank).conj().T @ self.about_mean[: self.pairs]
        return coordinates

    def operator(self, rank: int) -> Products:
        """Return [rank, rank]: ((1, 0), (shift, A)), of the coordinates."""
        images = self.coordinates(rank)[1:, 1 : self.pairs + 1]
        operator: Products = np.zeros((rank, rank), images.dtype)
        if not rank:
            return operator
        operator[0, 0] = 1.0
        operator[1:, 0] = images.mean(axis=1) / self.scales[0]
        operator[1:, 1:] = (images - images.mean(axis=1)[:, None]) @ self._directions(rank)
        return operator

    def eigen(self, rank: int) -> tuple[Complex128, Complex128]:
        """Return eigenvalues [rank] and eigenvectors [rank, rank] of unit length, 1 first."""
        law = self.operator(rank)
        values, vectors = np.ones(rank, np.complex128), np.zeros((rank, rank), np.complex128)
        if not rank:
            return values, vectors
        values[1:], vectors[1:, 1:] = np.linalg.eig(law[1:, 1:])
        resting: Products = np.zeros(rank, law.dtype)
        resting[0] = self.scales[0]
        resting[1:] = np.linalg.lstsq(
            np.eye(rank - 1) - law[1:, 1:], law[1:, 0] * self.scales[0], rcond=DRIFT
        )[0]
        vectors[:, 0] = resting / self._length(resting)
        return values, vectors

    def _directions(self, rank: int) -> Products:
        return super().basis(max(0, rank - 1))

    def _length(self, coordinates: Products) -> float:
        """Return the length of a value; never so small that dividing by it says nothing."""
        z = self.basis(len(coordinates)) @ coordinates
        m = self.pairs
        square = float((z.conj() @ self.series.gram[:m, :m] @ z).real)
        return max(float(np.sqrt(max(square, 0.0))), 1e-9 * float(self.scales[0]))

    def _ritz_residuals(self, values: Complex128, vectors: Complex128) -> Float64:
        """|Y z - lambda X z| for |X z| = 1, from all four products: the resting mode is no pair."""
        z = self.basis(len(values)) @ vectors
        pair = np.zeros((len(z) + 1, len(values)), np.complex128)
        pair[1:] = z
        pair[:-1] -= values * z
        known = slice(self.pairs + 1)
        found: Float64 = np.sqrt(np.maximum(_squares(self.about_mean[known, known], pair), 0.0))
        return found


def reduce(series: Series, pairs: int | None = None, leading: int | None = None) -> Reduction:
    """Reduce the first ``pairs`` pairs of a series; all by default.

    Parameters
    ----------
    leading
        How many coordinates are needed. Of a long series only they are computed, to rounding, where
        that is the quicker way (``koopscope.spectra.leading``); all there are by default.
    """
    return reduce_all([series], pairs, [leading])[0]


def reduce_all(
    series: Sequence[Series],
    pairs: int | None = None,
    leading: Sequence[int | None] | None = None,
) -> list[Reduction]:
    """Reduce several series of one observable and length together; see ``reduce``."""
    m = series[0].pairs if pairs is None else pairs
    leading = leading or [None] * len(series)
    if series[0].columns is not None:
        return [_of_columns(each, m) for each in series]
    if series[0].affine:
        # About the mean of all values first: an anchor far away would cost digits.
        centred = [_about(_about(each.gram, len(each.gram)), m) for each in series]
        scales = [_root_mean_square(products, m) for products in centred]
        directions = [None if wanted is None else wanted - 1 for wanted in leading]
        found = roots([products[:m, :m] for products in centred], scales, directions)
        return [
            AffineReduction(each, scale, *root, products)
            for each, scale, root, products in zip(series, scales, found, centred, strict=True)
        ]
    scales = [_norms(each, m) for each in series]
    found = roots([each.gram[:m, :m] for each in series], scales, leading)
    return [
        Reduction(each, scale, *root)
        for each, scale, root in zip(series, scales, found, strict=True)
    ]


def _norms(series: Series, m: int) -> Float64:
    """Return by what the columns of X are divided; see ``Reduction``."""
    norms = np.sqrt(np.maximum(np.diagonal(series.gram)[:m].real, 0.0))
    if series.size <= m:
        norms = np.full(m, np.sqrt(np.mean(norms**2)))
    return np.where(norms > 0.0, norms, 1.0)


def _root_mean_square(products: Products, m: int) -> Float64:
    length = float(np.sqrt(max(float(np.trace(products[:m, :m]).real), 0.0) / max(1, m)))
    return np.full(m, length if length > 0.0 else 1.0)


def _of_columns(series: Series, m: int) -> ColumnReduction:
    assert series.columns is not None
    scales = _norms(series, m)
    U, S, Vt = np.linalg.svd(series.columns[:, :m] / scales, full_matrices=False)
    return ColumnReduction(series, scales, S, Vt.conj().T, U)


def _about(gram: Products, first: int) -> Products:
    """Return the products of values less the mean of the ``first`` ones."""
    rows: Products = gram - gram[:first].mean(axis=0)
    shifted: Products = rows - rows[:, :first].mean(axis=1)[:, None]
    return shifted


def function_residuals(
    values: Complex128, vectors: Complex128, coordinates: Products, constants: int = 0
) -> Float64:
    """Return float64 [r], |phi(y_{t+1}) - lambda phi(y_t)| / |phi(y_t)| over neighbouring values.

    Parameters
    ----------
    values, vectors
        complex128 [r] and [r, r], of an operator of the coordinates; phi are its left
        eigenfunctions.
    coordinates
        [r, n].
    constants
        How many of the first eigenvalues are those of constants: their residual is 0 by
        construction, so it is NaN here.
    """
    functions = np.linalg.lstsq(vectors, coordinates.astype(np.complex128), rcond=None)[0]
    off = functions[:, 1:] - values[:, None] * functions[:, :-1]
    sizes = np.linalg.norm(functions[:, :-1], axis=1)
    residuals: Float64 = np.linalg.norm(off, axis=1) / np.where(sizes > 0.0, sizes, np.nan)
    residuals[:constants] = np.nan
    return residuals


def _squares(gram: Products, columns: Complex128) -> Float64:
    """Return the real diagonal of columns^H gram columns."""
    images = gram @ columns if np.iscomplexobj(gram) else _times(gram, columns)
    found: Float64 = np.real(np.einsum("ij,ij->j", columns.conj(), images))
    return found


def _times(matrix: Float64, columns: Complex128) -> Complex128:
    """Return matrix @ columns without a complex copy of the matrix."""
    parts = np.ascontiguousarray(columns).view(np.float64)
    images: Complex128 = np.ascontiguousarray(matrix @ parts).view(np.complex128)
    return images
