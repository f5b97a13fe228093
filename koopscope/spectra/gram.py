"""The snapshot Gram matrix: all that any question about a run needs to know of its N weights.

Snapshots move little: one increment is often 1e-3 .. 1e-6 of the weights' norm, and inner products
square that ratio. So the matrix is kept in the basis (first snapshot, increments) and never as raw
products of snapshots: the difference of two neighbouring snapshots is exact or nearly so in
float64, and no later step has to subtract two large numbers to recover it (Sirovich's method of
snapshots, anchored). No more than one block of weights is held at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.changes import ChangeCounts, Values
from koopscope.spectra.units import UnitAxis, UnitMoments, joined_units

#: Inner products: float64, or complex128 and Hermitian where the snapshots are complex.
Products = npt.NDArray[Any]

Observable = Literal["increments", "weights", "centered", "raw"]

OBSERVABLES: tuple[Observable, ...] = ("increments", "weights", "centered", "raw")

#: Precision of the products; see ``GramAccumulator``.
Precision = Literal["double", "single"]

#: Columns multiplied at once: long enough for BLAS, short enough for T = 100 to stay in a cache.
SPAN = 2048

#: Larger magnitudes overflow when squared and summed; they are as useless as infinities.
LARGEST = 1e145


@dataclass(frozen=True)
class SnapshotGram:
    """Inner products of one scope's snapshots w_0 .. w_{T-1} in R^N or C^N, anchored at w_0.

    With increments d_t = w_{t+1} - w_t and anchor a = w_0, every snapshot is
    w_t = a + d_0 + ... + d_{t-1}, so these three hold every inner product there is. Products are
    <x, y> = sum conj(x) y: real for real snapshots, and Hermitian matrices for complex ones.

    Attributes
    ----------
    increments
        [T-1, T-1], the products <d_s, d_t>: float64, complex128 where snapshots are complex.
    anchor_increments
        [T-1], the products <a, d_t>, of the same dtype.
    anchor_square
        <a, a>.
    size
        Number of weights N.
    nonfinite
        int64 [T], entries that are NaN, infinite or too large to square. Products that involve
        such a snapshot are meaningless; those of the others are untouched.
    changes
        Counts of entries that did not change; no product rests on them.
    units
        How each unit's weights moved, where the pass knew which axis numbers the units; of all
        snapshots, so a window has none.
    """

    increments: Products
    anchor_increments: Products
    anchor_square: float
    size: int
    nonfinite: npt.NDArray[np.int64]
    changes: ChangeCounts
    units: UnitMoments | None = None

    @classmethod
    def of_increments(cls, products: Products, size: int) -> SnapshotGram:
        """Return what is known from the increments' products [T-1, T-1] alone: no anchor."""
        snapshots = len(products) + 1
        return cls(
            increments=products,
            anchor_increments=np.zeros(len(products)),
            anchor_square=0.0,
            size=size,
            nonfinite=np.zeros(snapshots, np.int64),
            changes=ChangeCounts.none(snapshots),
        )

    @property
    def snapshots(self) -> int:
        """Number of snapshots T."""
        return len(self.nonfinite)

    @property
    def finite(self) -> npt.NDArray[np.bool_]:
        """bool [T], the snapshots without a non-finite entry."""
        return np.equal(self.nonfinite, 0)

    def __add__(self, other: SnapshotGram) -> SnapshotGram:
        """Join two disjoint sets of weights recorded at the same steps: every product adds."""
        if self.snapshots != other.snapshots:
            raise KoopscopeError(
                f"cannot join {self.snapshots} snapshots with {other.snapshots}",
                "parts of one run must be recorded at the same steps",
            )
        return SnapshotGram(
            increments=self.increments + other.increments,
            anchor_increments=self.anchor_increments + other.anchor_increments,
            anchor_square=self.anchor_square + other.anchor_square,
            size=self.size + other.size,
            nonfinite=self.nonfinite + other.nonfinite,
            changes=self.changes + other.changes,
            units=joined_units(self.units, other.units),
        )

    def window(self, first: int, stop: int) -> SnapshotGram:
        """Restrict to the snapshots ``first`` .. ``stop - 1``, re-anchored at ``first``.

        Raises
        ------
        KoopscopeError
            If there are no such snapshots.
        """
        if not 0 <= first < stop <= self.snapshots:
            raise KoopscopeError(
                f"snapshots {first}:{stop} are outside 0:{self.snapshots}",
                "a window is a non-empty range of recorded snapshots",
            )
        inside = slice(first, stop - 1)
        to_new_anchor = self.increments[:first]
        increments = self.increments[inside, inside]
        if 2 * (stop - first) <= self.snapshots:
            increments = increments.copy()  # a view would keep all of the matrix in memory
        return SnapshotGram(
            increments=increments,
            anchor_increments=self.anchor_increments[inside] + to_new_anchor[:, inside].sum(axis=0),
            anchor_square=self.anchor_square
            + 2.0 * float(self.anchor_increments[:first].sum().real)
            + float(to_new_anchor[:, :first].sum().real),
            size=self.size,
            nonfinite=self.nonfinite[first:stop],
            changes=replace(self.changes, unchanged=self.changes.unchanged[inside]),
            units=self.units if stop - first == self.snapshots else None,
        )

    def of_pairs(self) -> SnapshotGram:
        """Return the products of the snapshots as vectors of real and imaginary parts, in R^2N."""
        return replace(
            self,
            increments=self.increments.real.copy(),
            anchor_increments=self.anchor_increments.real.copy(),
        )

    def scaled(self, factor: float) -> SnapshotGram:
        """Multiply every inner product, as when each weight stood for ``factor`` of its kind."""
        return replace(
            self,
            increments=self.increments * factor,
            anchor_increments=self.anchor_increments * factor,
            anchor_square=self.anchor_square * factor,
        )

    def standing_for(self, size: int) -> SnapshotGram:
        """Return the estimate for ``size`` weights of which these are a random part."""
        return replace(self.scaled(size / self.size), size=size)

    def anchored(self) -> Products:
        """Return [T, T] products of w_t - w_0."""
        total = np.zeros((self.snapshots, self.snapshots), self.increments.dtype)
        inner = total[1:, 1:]
        np.cumsum(self.increments, axis=0, out=inner)
        np.cumsum(inner, axis=1, out=inner)
        return total

    def raw(self) -> Products:
        """Return [T, T] products of the snapshots themselves; small motion is lost in them."""
        along_anchor = np.concatenate([[0.0], self.anchor_increments.cumsum()])
        products: Products = self.anchored() + along_anchor.conj()[:, None] + along_anchor
        return products + self.anchor_square

    def speeds(self) -> Float64:
        """Return [T-1] lengths of the increments."""
        lengths: Float64 = np.sqrt(np.maximum(np.diagonal(self.increments).real, 0.0))
        return lengths

    def path_length(self) -> float:
        """Return the length of the polygon through the snapshots."""
        return float(self.speeds().sum())

    def displacement(self) -> float:
        """Return the distance between the first and the last snapshot."""
        return float(np.sqrt(max(float(self.increments.sum().real), 0.0)))

    def observable(self, name: Observable, delay: int = 1) -> Products:
        """Return the Gram matrix of an observable's time series.

        Parameters
        ----------
        name
            ``increments``: y_t = d_t, T-1 of them; the constant part of the weights is gone.
            ``weights``: y_t = w_t - w_0; ``centered``: y_t = w_t - mean. Both obey an affine law,
            so spectra of them are fitted with a constant (``koopscope.spectra.reduction``).
            ``raw``: y_t = w_t, as in the founding papers; small motion is lost in these products
            (``Series.columns`` keeps it).
        delay
            Number of consecutive values stacked into one (Hankel DMD); the stacked series' Gram
            matrix is the sum of ``delay`` shifted sub-blocks.

        Returns
        -------
        [m, m] with m = T - delay (increments) or T - delay + 1; H[s, t] = <y_s, y_t>.

        Raises
        ------
        KoopscopeError
            If the delay leaves nothing, or the observable is unknown.
        """
        if name == "increments":
            gram = self.increments
        elif name == "raw":
            gram = self.raw()
        elif name in ("weights", "centered"):
            gram = self.anchored()
            if name == "centered":
                gram = gram - gram.mean(axis=0)
                gram = gram - gram.mean(axis=1)[:, None]
        else:
            raise KoopscopeError(
                f"unknown observable {name!r}", f"choose one of {', '.join(OBSERVABLES)}"
            )
        return _delayed(gram, delay)


def _delayed(gram: Products, delay: int) -> Products:
    if delay < 1:
        raise KoopscopeError(f"a delay of {delay} is not possible", "use 1 (no delay) or more")
    length = len(gram) - delay + 1
    if length < 1:
        raise KoopscopeError(
            f"{len(gram)} values cannot be stacked {delay} at a time",
            "use a smaller --delay or a longer window",
        )
    if delay == 1:
        return gram
    stacked = np.zeros((length, length), gram.dtype)
    for lag in range(delay):
        stacked += gram[lag : lag + length, lag : lag + length]
    return stacked


def total(grams: Iterable[SnapshotGram]) -> SnapshotGram:
    """Sum the Gram matrices of disjoint sets of weights (tensors, shards, block ranges).

    Raises
    ------
    KoopscopeError
        If there is none.
    """
    iterator = iter(grams)
    try:
        joined = next(iterator)
    except StopIteration:
        raise KoopscopeError(
            "there is no weight to analyse", "record or select at least one floating tensor"
        ) from None
    for gram in iterator:
        joined = joined + gram
    return joined


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
        self._units: UnitMoments | None = None
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

    def _add_units(self, units: UnitMoments | None) -> None:
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
