"""The snapshot Gram matrix: all that any question about a run needs to know of its N weights.

Snapshots move little: one increment is often 1e-3 .. 1e-6 of the weights' norm, and inner products
square that ratio. So the matrix is kept in the basis (first snapshot, increments) and never as raw
products of snapshots: the difference of two neighbouring snapshots is exact or nearly so in
float64, and no later step has to subtract two large numbers to recover it (Sirovich's method of
snapshots, anchored). ``koopscope.spectra.accumulating`` builds it from blocks of weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.units import UnitCounts, UnitMoments, joined_units

#: Inner products: float64, or complex128 and Hermitian where the snapshots are complex.
Products = npt.NDArray[Any]

Observable = Literal["increments", "weights", "centered", "raw"]

OBSERVABLES: tuple[Observable, ...] = ("increments", "weights", "centered", "raw")


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
        How each unit's weights moved, where the pass knew which axis numbers the units, or how many
        stood still, where they were counted while recording; of all snapshots, so a window has
        none.
    """

    increments: Products
    anchor_increments: Products
    anchor_square: float
    size: int
    nonfinite: npt.NDArray[np.int64]
    changes: ChangeCounts
    units: UnitMoments | UnitCounts | None = None

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
