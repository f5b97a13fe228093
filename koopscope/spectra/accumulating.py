"""Builds the snapshot Gram matrix of a scope from blocks of its weights, one block at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np

from koopscope.spectra.changes import ChangeCounts, Values
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.units import UnitAxis, UnitCounts, UnitMoments, joined_units

#: Precision of the products; see ``GramAccumulator``.
Precision = Literal["double", "single"]

#: Columns multiplied at once: long enough for BLAS, short enough for T = 100 to stay in a cache.
SPAN = 2048

#: Larger magnitudes overflow when squared and summed; they are as useless as infinities.
LARGEST = 1e145


class GramAccumulator:
    """Builds one scope's ``SnapshotGram`` from blocks, in float64, with buffers that are reused.

    Holds 8 T^2 bytes for the sum, as much (half of it in single precision) for one product, and
    ``SPAN`` columns of the basis; twice as much from the first complex block on.

    Parameters
    ----------
    snapshots
        T, at least 1.
    precision
        Of each product; sums of products are always float64. ``single`` halves the cost and loses
        what lies below about 3e-4 of the largest singular value (2^-24, squared by the product).
    since
        Where the products of the increments before this one are known already: only those of the
        first snapshot and of the increments from here on, with everything, are computed; the others
        are zero in the result (see ``extended``).
    pairs
        Take complex weights for vectors of real and imaginary parts: products stay real, and are
        those of ``SnapshotGram.of_pairs``. Each pair still counts as one weight.
    """

    def __init__(
        self,
        snapshots: int,
        precision: Precision = "double",
        since: int = 0,
        *,
        pairs: bool = False,
    ) -> None:
        self.snapshots = snapshots
        self._pairs = pairs
        self._wanted = np.concatenate([[0], np.arange(since + 1, snapshots)]) if since else None
        self._dtype = np.dtype(np.float32 if precision == "single" else np.float64)
        # Row 0 is the first snapshot, row t + 1 is increment t: one product holds every sum.
        self._basis = np.empty((snapshots, SPAN), self._dtype)
        self._product = np.empty((snapshots, snapshots), self._dtype)
        self._sum = np.zeros((snapshots, snapshots))
        self._nonfinite = np.zeros(snapshots, np.int64)
        self._changes = ChangeCounts.none(snapshots)
        self._units: UnitMoments | UnitCounts | None = None
        self._size = 0

    def add(self, values: Values, begin: int = 0, axis: UnitAxis | None = None) -> None:
        """Add a block of shape (T, n): any n weights that were not added before.

        Parameters
        ----------
        values
            The block.
        begin, axis
            Where it begins in the flattened tensor, and which axis numbers the units, for the
            units' moments; without an axis there are none.
        """
        width = values.shape[1]
        numbers, parts = values, 1
        if np.iscomplexobj(values):
            if self._pairs:
                numbers, parts = np.ascontiguousarray(values).view(values.real.dtype), 2
            elif not np.iscomplexobj(self._sum):
                self._turn_complex()
        for start in range(0, parts * width, SPAN):
            part = numbers[:, start : start + SPAN]
            if not self._accumulate(part, self._basis, self._product):
                self._accumulate_cleaned(part, parts)
        self._changes += ChangeCounts.of(values)
        if axis is not None:
            self._add_units(UnitMoments.of(values, begin, axis))
        self._size += width

    def _add_units(self, units: UnitMoments | UnitCounts | None) -> None:
        self._units = joined_units(self._units, units) if self._size else units

    def _turn_complex(self) -> None:
        self._dtype = np.result_type(self._dtype, np.complex64)
        self._basis = np.empty(self._basis.shape, self._dtype)
        self._product = np.empty(self._product.shape, self._dtype)
        self._sum = self._sum.astype(np.complex128)

    def _accumulate(self, values: Values, basis: Values, product: Values) -> bool:
        """Add the products of a block, or return False and add nothing if they are not finite."""
        moved = basis.reshape(-1)[: values.size].reshape(values.shape)
        with np.errstate(all="ignore"):
            moved[0] = values[0]
            working = np.result_type(values.dtype, moved.dtype)
            np.subtract(values[1:], values[:-1], out=moved[1:], dtype=working, casting="same_kind")
            if self._wanted is None:
                # A real matrix times its own transpose: BLAS does half the work (syrk).
                np.matmul(moved.conj(), moved.T, out=product)
            else:
                product[...] = 0.0
                product[self._wanted] = moved[self._wanted].conj() @ moved.T
                product[:, self._wanted] = product[self._wanted].conj().T
            # Finite squares bound every other product (Cauchy and Schwarz).
            if not np.isfinite(np.trace(product) + product[0].sum()):
                return False
        self._sum += product
        return True

    def _accumulate_cleaned(self, values: Values, parts: int) -> None:
        bad = ~(np.abs(values) <= min(LARGEST, float(np.finfo(values.dtype).max)))
        self._nonfinite += bad.reshape(len(bad), -1, parts).any(axis=2).sum(axis=1)
        # The last finite value stands in for each bad one, so that the increments of the
        # other snapshots still add up to where the weight really was.
        cleaned = np.array(values, self._sum.dtype)
        cleaned[0][bad[0]] = 0.0
        for t in range(1, self.snapshots):
            np.copyto(cleaned[t], cleaned[t - 1], where=bad[t])
        self._accumulate(cleaned, np.empty_like(cleaned), np.empty_like(self._sum))

    def absorb(self, gram: SnapshotGram) -> None:
        """Add the products of weights that were not added before; ``gram`` stays as it is."""
        if np.iscomplexobj(gram.increments) and not np.iscomplexobj(self._sum):
            self._turn_complex()
        self._sum[1:, 1:] += gram.increments
        self._sum[0, 1:] += gram.anchor_increments
        self._sum[0, 0] += gram.anchor_square
        self._add_units(gram.units)
        self._size += gram.size
        self._nonfinite += gram.nonfinite
        self._changes += gram.changes

    def result(self) -> SnapshotGram:
        """Return what has been accumulated so far."""
        return SnapshotGram(
            increments=self._sum[1:, 1:].copy(),
            anchor_increments=self._sum[0, 1:].copy(),
            anchor_square=float(self._sum[0, 0].real),
            size=self._size,
            nonfinite=self._nonfinite.copy(),
            changes=self._changes,
            units=self._units,
        )

    def clear(self) -> None:
        """Forget everything that was added."""
        self._sum.fill(0)
        self._nonfinite.fill(0)
        self._changes = ChangeCounts.none(self.snapshots)
        self._units = None
        self._size = 0


def gram_of(snapshots: Values) -> SnapshotGram:
    """Return the ``SnapshotGram`` of an array (T, N) that fits in memory."""
    accumulator = GramAccumulator(len(snapshots))
    accumulator.add(snapshots)
    return accumulator.result()
