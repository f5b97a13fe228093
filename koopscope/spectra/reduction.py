"""The leading directions of an observable's time series, from its Gram matrix alone.

Holds what fitting, forecasting and held-out tests share: unit-norm columns, their singular value
decomposition by the method of snapshots, and the reduced operator of any rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.spectra.rank import numerical_rank


@dataclass(frozen=True)
class Reduction:
    """X = (y_0 .. y_{m-1}) with columns divided by their norms, as U S V^T.

    Attributes
    ----------
    gram
        float64 [n, n] with n > m, the products of y_0 .. y_{n-1}.
    scales
        float64 [m], the norms of y_0 .. y_{m-1}; 1 where a column is zero.
    singular_values
        float64 [m], descending.
    right
        float64 [m, m], the columns of V.
    """

    gram: Float64
    scales: Float64
    singular_values: Float64
    right: Float64

    @classmethod
    def of(cls, gram: Float64, pairs: int | None = None) -> Reduction:
        """Reduce the first ``pairs`` values of a series; all but the last by default."""
        m = len(gram) - 1 if pairs is None else pairs
        norms = np.sqrt(np.maximum(np.diagonal(gram)[:m], 0.0))
        scales = np.where(norms > 0.0, norms, 1.0)
        XX = gram[:m, :m] / scales[:, None] / scales
        squares, V = np.linalg.eigh((XX + XX.T) / 2.0)
        return cls(gram, scales, np.sqrt(np.maximum(squares[::-1], 0.0)), V[:, ::-1])

    @property
    def pairs(self) -> int:
        """Number m of pairs (y_t, y_{t+1})."""
        return len(self.scales)

    @property
    def numerical_rank(self) -> int:
        """Number of directions that can be told from rounding."""
        return numerical_rank(self.singular_values)

    def inverse(self, rank: int) -> Float64:
        """Return V S^-1, float64 [m, rank]: U = X V S^-1 in scaled columns."""
        return self.right[:, :rank] / self.singular_values[:rank]

    def basis(self, rank: int) -> Float64:
        """Return float64 [m, rank]: u_j = sum_t basis[t, j] y_t."""
        return self.inverse(rank) / self.scales[:, None]

    def operator(self, rank: int) -> Float64:
        """Return the reduced operator U^T Y V S^-1, float64 [rank, rank]."""
        m = self.pairs
        XY = self.gram[:m, 1 : m + 1] / self.scales[:, None] / self.scales
        inverse = self.inverse(rank)
        reduced: Float64 = inverse.T @ XY @ inverse
        return reduced
