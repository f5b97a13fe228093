"""One observable's values y_0 .. y_{n-1}, known by their inner products alone.

What spectra, forecasts and held-out tests are fitted to. Never holds a value of N entries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from koopscope.spectra.gram import Observable, Products, SnapshotGram


@dataclass(frozen=True)
class Series:
    """The values of an observable along time.

    Attributes
    ----------
    observable
        What y_t is: see ``SnapshotGram.observable``.
    gram
        [n, n], the products <y_s, y_t>: float64, or complex128 of complex snapshots.
    size
        Entries of one value: weights times delays.
    columns
        [k, n], the values in an orthonormal basis of their span. Only where products of the
        values would lose their motion, as those of raw weights do; ``None`` otherwise.
    """

    observable: Observable
    gram: Products
    size: int
    columns: Products | None = None

    @classmethod
    def of(cls, gram: SnapshotGram, observable: Observable, delay: int = 1) -> Series:
        """Return the series of an observable of some snapshots.

        Raises
        ------
        KoopscopeError
            If the delay leaves nothing, or the observable is unknown.
        """
        products = gram.observable(observable, delay)
        size = gram.size * delay
        if observable != "raw":
            return cls(observable, products, size)
        columns = columns_of(gram)
        lags = [columns[:, lag : lag + len(products)] for lag in range(delay)]
        return cls(observable, products, size, np.concatenate(lags))

    @property
    def affine(self) -> bool:
        """Whether the law of motion has a constant part: y_{t+1} = A y_t + c."""
        return self.observable in ("weights", "centered")

    @property
    def pairs(self) -> int:
        """Number of pairs (y_t, y_{t+1})."""
        return len(self.gram) - 1

    def latest(self, values: int) -> Series:
        """Return the last so many values, or all where there are fewer."""
        columns = None if self.columns is None else self.columns[:, -values:]
        return replace(self, gram=self.gram[-values:, -values:], columns=columns)

    def square_distance(self, first: int, second: int) -> float:
        """Return |y_second - y_first|^2."""
        if self.columns is not None:
            return float(np.sum(np.abs(self.columns[:, second] - self.columns[:, first]) ** 2))
        H = self.gram
        square = (H[first, first] + H[second, second] - 2.0 * H[first, second]).real
        return max(float(square), 0.0)


def columns_of(gram: SnapshotGram) -> Products:
    """Return [T, T]: the snapshots w_t in an orthonormal basis of their span.

    The first snapshot and the increments span it. Their products are scaled to a unit diagonal
    before the root is taken, so small increments are resolved beside a large first snapshot: a
    motion of 1e-6 of the weights keeps ten digits, of which the products of snapshots keep four.
    """
    count = gram.snapshots
    products: Products = np.empty((count, count), gram.increments.dtype)
    products[0, 0], products[0, 1:] = gram.anchor_square, gram.anchor_increments
    products[1:, 0], products[1:, 1:] = gram.anchor_increments.conj(), gram.increments
    scales = np.sqrt(np.maximum(np.diagonal(products).real, 0.0))
    scales = np.where(scales > 0.0, scales, 1.0)
    squares, directions = np.linalg.eigh(products / scales[:, None] / scales)
    resolved = np.where(squares > count * np.finfo(np.float64).eps * squares[-1], squares, 0.0)
    root = np.sqrt(resolved)[:, None] * directions.conj().T * scales
    columns: Products = root.cumsum(axis=1)
    return columns
