"""Compressed measurements: far fewer numbers than weights that keep the snapshots' inner products.

DMD of measured snapshots C w_t has the eigenvalues of the snapshots' own when C keeps their span
(Brunton, Proctor, Tu, Kutz 2015; Erichson et al. 2019). Every measurement here is an unbiased
estimate of the Gram matrix, made in independent groups, so that what compression did to an
eigenvalue can be measured by leaving one group out at a time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.gram import Products, SnapshotGram, total
from koopscope.spectra.matching import conjugates, matched

Measurement = Literal["sample", "sparse", "gaussian"]
MEASUREMENTS: tuple[Measurement, ...] = ("sample", "sparse", "gaussian")

#: Independent parts of every measurement. Eight give the standard error to a quarter of itself.
GROUPS = 8

#: Weights of one cell. A cell costs one positioned read per snapshot, whatever its length; 2048
#: float32 weights are two pages, about as many as a read costs anyway.
CELL = 2048

#: What ``--measurements`` is unless it is given: sampled weights, or rows of a projection.
DEFAULT_MEASUREMENTS = {"sample": 2**18, "sparse": 4096, "gaussian": 1024}


def jackknife_error(replicates: Float64) -> Float64:
    """Return the standard error of a statistic from its values without each of the groups.

    Parameters
    ----------
    replicates
        [GROUPS, ...], the statistic of ``MeasuredGram.without`` each group.

    Returns
    -------
    In the statistic's shape (Efron and Stein, Annals of Statistics 9, 1981).
    """
    deviations = replicates - replicates.mean(axis=0)
    errors: Float64 = np.sqrt((GROUPS - 1) / GROUPS * np.square(deviations).sum(axis=0))
    return errors


@dataclass(frozen=True)
class MeasuredGram:
    """A scope's Gram matrix as ``GROUPS`` independent estimates of it; their mean is the estimate.

    Attributes
    ----------
    groups
        Each scaled to stand for all weights of the scope.
    exact
        Whether every weight went into every group, so that all of them are the exact matrix.
    counted_alike
        Whether every group's counts are of all entries, not of the group's own.
    """

    groups: tuple[SnapshotGram, ...]
    exact: bool = False
    counted_alike: bool = False

    @classmethod
    def of_all_weights(cls, gram: SnapshotGram) -> MeasuredGram:
        """Return the measurement that is no approximation."""
        return cls(groups=(gram,) * GROUPS, exact=True)

    @property
    def gram(self) -> SnapshotGram:
        """The estimate that uses every group."""
        return self.groups[0] if self.exact else self._mean(self.groups)

    def without(self, left_out: int) -> SnapshotGram:
        """Return the estimate that leaves one group out."""
        return self._mean([group for g, group in enumerate(self.groups) if g != left_out])

    def _mean(self, groups: Sequence[SnapshotGram]) -> SnapshotGram:
        mean = _mean(groups)
        if not self.counted_alike:
            return mean
        counted = groups[0]
        return replace(
            mean, changes=counted.changes, nonfinite=counted.nonfinite, units=counted.units
        )

    def each(self, change: Callable[[SnapshotGram], SnapshotGram]) -> MeasuredGram:
        """Return the measurement with every group changed alike: a window, a filter."""
        if self.exact:
            return MeasuredGram.of_all_weights(change(self.groups[0]))
        return replace(self, groups=tuple(change(group) for group in self.groups))


def joined(parts: Iterable[MeasuredGram]) -> MeasuredGram:
    """Sum the measurements of disjoint sets of weights."""
    parts = list(parts)
    if parts and all(part.exact for part in parts):
        return MeasuredGram.of_all_weights(total(part.groups[0] for part in parts))
    return MeasuredGram(
        tuple(total(groups) for groups in zip(*(part.groups for part in parts), strict=True)),
        counted_alike=all(part.counted_alike or part.exact for part in parts),
    )


def _mean(grams: Sequence[SnapshotGram]) -> SnapshotGram:
    return replace(total(grams).scaled(1.0 / len(grams)), size=grams[0].size)


def compression_errors(measured: MeasuredGram, spectrum: Spectrum) -> Float64:
    """Return the standard error that compression caused in each eigenvalue of a spectrum.

    The jackknife over groups (Efron and Tibshirani 1993, eq. 11.5) at the spectrum's rank, with
    eigenvalues matched by assignment.

    Parameters
    ----------
    measured
        What the spectrum was computed from, in the same window.
    spectrum
        Of ``measured.gram``.

    Returns
    -------
    float64 [r], the root mean square of |lambda_hat - lambda_exact| to be expected; zero where
    everything was read, infinite where the rest without a group has a smaller rank.
    """
    if measured.exact or not spectrum.rank:
        return np.zeros(spectrum.rank)
    replicates = []
    for left_out in range(len(measured.groups)):
        other = dmd(
            measured.without(left_out),
            spectrum.observable,
            rank=spectrum.rank,
            delay=spectrum.delay,
        )
        if other.rank < spectrum.rank:
            return np.full(spectrum.rank, np.inf)
        replicates.append(other.eigenvalues)
    counterparts = matched(np.array(replicates), spectrum.eigenvalues)
    spread = np.abs(counterparts - counterparts.mean(axis=0)) ** 2
    spread = (spread + spread[:, conjugates(spectrum.eigenvalues)]) / 2.0
    count = len(replicates)
    errors: Float64 = np.sqrt((count - 1) / count * spread.sum(axis=0))
    return errors


@dataclass(frozen=True)
class Cells:
    """A tensor cut into cells that are contiguous in it, follow its rows, and are about equal.

    Attributes
    ----------
    shape
        Of one snapshot of the tensor.
    length
        Most weights in a cell.
    """

    shape: tuple[int, ...]
    length: int

    def _layout(self) -> tuple[int, int, int]:
        """Axis length cut into parts, weights per index of it, parts."""
        inner, axis = 1, len(self.shape) - 1
        while axis >= 0 and inner * self.shape[axis] <= self.length:
            inner *= self.shape[axis]
            axis -= 1
        extent = self.shape[axis] if axis >= 0 else 1
        return extent, inner, math.ceil(extent / max(1, self.length // inner))

    def __len__(self) -> int:
        extent, inner, parts = self._layout()
        return math.prod(self.shape) // (extent * inner) * parts

    def bounds(self, index: int) -> tuple[int, int]:
        """Return [start, stop) of a cell in the flattened tensor."""
        extent, inner, parts = self._layout()
        outer, part = divmod(index, parts)
        first, last = part * extent // parts, (part + 1) * extent // parts
        offset = outer * extent * inner
        return offset + first * inner, offset + last * inner

    def drawn(self, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Return ``count`` cells, one at random from each of as many equal stretches.

        Every cell has the same chance, so a sample mean is unbiased; neighbouring stretches go to
        different groups when they are dealt out in turn.
        """
        stretch = len(self) / count
        positions = (np.arange(count) + rng.random(count)) * stretch
        return [self.bounds(min(int(p), len(self) - 1)) for p in positions]


class Projection(ABC):
    """Builds random combinations of one tensor's weights from blocks; rows add over blocks.

    Parameters
    ----------
    snapshots, rows
        T, and the number of combinations p.
    rng
        Draws the combinations; the same seed and blocks give the same numbers.
    """

    def __init__(self, snapshots: int, rows: int, rng: np.random.Generator) -> None:
        self.rows = rows
        self.rng = rng
        self._sums: Products = np.zeros((snapshots, rows))
        self._size = 0
        self._nonfinite = np.zeros(snapshots, np.int64)

    def add(self, values: npt.NDArray[np.inexact[Any]]) -> None:
        """Add a block of shape (T, n): any n weights that were not added before."""
        wide = np.result_type(values.dtype, self._sums.dtype)
        self._sums = self._sums.astype(wide, copy=False)
        self._combine(values)
        with np.errstate(invalid="ignore", over="ignore"):
            bad = ~np.isfinite(values.sum(axis=1, dtype=wide))
        if bad.any():
            self._nonfinite += (~np.isfinite(values)).sum(axis=1)
        self._size += values.shape[1]

    @abstractmethod
    def _combine(self, values: npt.NDArray[np.inexact[Any]]) -> None:
        """Add the block's combinations to the sums."""

    def result(self) -> list[SnapshotGram]:
        """Return the Gram matrix of the combinations, row by row dealt out to ``GROUPS`` groups.

        Each is scaled to stand for the whole tensor. Which entries stood still is not known.
        """
        groups = []
        for first in range(GROUPS):
            part = gram_of(self._sums[:, first::GROUPS])
            share = self.rows / len(range(first, self.rows, GROUPS))
            groups.append(
                replace(
                    part.scaled(share),
                    size=self._size,
                    changes=replace(
                        part.changes, unchanged=np.zeros_like(part.changes.unchanged), still=0
                    ),
                    nonfinite=self._nonfinite.copy(),
                )
            )
        return groups


class SparseProjection(Projection):
    """Random signs, one non-zero per weight: the tensor is folded onto p rows with random signs.

    E <C x, C y> = <x, y>, since different weights on one row have independent signs (Charikar,
    Chen, Farach-Colton 2002).
    """

    def _combine(self, values: npt.NDArray[np.inexact[Any]]) -> None:
        signs = self.rng.integers(0, 2, values.shape[1], np.int8) * np.int8(2) - np.int8(1)
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, values.shape[1], self.rows):
                part = values[:, start : start + self.rows]
                row = (self._size + start) % self.rows
                first = min(part.shape[1], self.rows - row)
                signed = part * signs[start : start + self.rows].astype(values.dtype)
                self._sums[:, row : row + first] += signed[:, :first]
                self._sums[:, : part.shape[1] - first] += signed[:, first:]


class GaussianProjection(Projection):
    """Independent normal coefficients: the reference, N p multiplications per snapshot."""

    def _combine(self, values: npt.NDArray[np.inexact[Any]]) -> None:
        coefficients = self.rng.standard_normal((values.shape[1], self.rows))
        with np.errstate(invalid="ignore", over="ignore"):
            self._sums += values.astype(self._sums.dtype) @ (coefficients / math.sqrt(self.rows))


PROJECTIONS: dict[Measurement, type[Projection]] = {
    "sparse": SparseProjection,
    "gaussian": GaussianProjection,
}


def checked_measurement(name: object) -> Measurement:
    """Return the name if it is one of ``MEASUREMENTS``.

    Raises
    ------
    KoopscopeError
        If it is not.
    """
    for known in MEASUREMENTS:
        if name == known:
            return known
    raise KoopscopeError(
        f"unknown measurement {name!r}", f"choose one of {', '.join(MEASUREMENTS)}"
    )


def allotted(shares: Sequence[float], cells: int, least: int = GROUPS) -> Iterator[int]:
    """Yield how many cells of a budget each tensor gets: multiples of ``GROUPS``, none too few."""
    whole_share = sum(shares)
    for share in shares:
        wanted = cells * share / whole_share if whole_share > 0.0 else 0.0
        yield max(least, round(wanted / GROUPS) * GROUPS)
