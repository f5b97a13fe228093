"""A pass that reads or keeps only part of what a run holds: compressed measurements of each tensor.

``sample`` reads a random few cells of every tensor, so its cost does not grow with the network;
``sparse`` and ``gaussian`` read everything once and keep random combinations. Each tensor says
whether its matrix is exact or an estimate.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from koopscope._threads import cores, product_threads
from koopscope.engine.local import snapshot_grams
from koopscope.engine.source import ProgressListener
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.run import FloatArray, Run, TensorInfo
from koopscope.spectra.accumulating import GramAccumulator
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.measured import (
    CELL,
    DEFAULT_MEASUREMENTS,
    GROUPS,
    PROJECTIONS,
    Cells,
    MeasuredGram,
    Measurement,
    allotted,
    checked_measurement,
)

#: Part of a tensor from which on reading all of it is the better use of the same time.
_WORTH_ALL = 0.5

#: Cells multiplied by one task: a few MiB, long enough that handing it over costs nothing.
_CELLS_AT_ONCE = 8


@dataclass(frozen=True)
class Measuring:
    """How to measure.

    Attributes
    ----------
    measurement
        ``sample``, ``sparse`` or ``gaussian``.
    measurements
        Sampled weights over all tensors, or rows of each tensor's projection; ``None`` for
        ``DEFAULT_MEASUREMENTS``.
    seed
        Of the random choice.
    tolerance
        Enlarge a sample until the largest standard error that matters is at most this.
    """

    measurement: Measurement = "sample"
    measurements: int | None = None
    seed: int = 0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        checked_measurement(self.measurement)
        if self.measurements is not None and self.measurements < GROUPS:
            raise KoopscopeError(
                f"{self.measurements} measurements are too few",
                f"use at least {GROUPS}: they are split into {GROUPS} groups to tell their error",
            )
        if self.seed < 0:
            raise KoopscopeError(f"a seed of {self.seed} is not possible", "use 0 or more")
        if self.tolerance is None:
            return
        if not self.tolerance > 0.0:
            raise KoopscopeError(
                f"a tolerance of {self.tolerance} cannot be met", "use a positive number"
            )
        if self.measurement != "sample":
            raise KoopscopeError(
                f"a tolerance does not go with {self.measurement} projections",
                "use --measurement sample, which can be enlarged, or give --measurements",
            )

    @property
    def count(self) -> int:
        """Sampled weights, or rows of a projection."""
        return self.measurements or DEFAULT_MEASUREMENTS[self.measurement]


class MeasuredGrams(Mapping[str, SnapshotGram]):
    """Estimated Gram matrices by tensor name; ``measured`` tells how good they are.

    Parameters
    ----------
    snapshots
        T, the same for all.
    counted_alike
        See ``MeasuredGram``.
    """

    def __init__(self, snapshots: int, *, counted_alike: bool = False) -> None:
        self._store = GramStore(snapshots)
        self._counted_alike = counted_alike
        self._sizes: dict[str, int] = {}
        self._exact: dict[str, bool] = {}
        #: Weights that were read, and weights there are.
        self.weights_read = 0

    def put(self, tensor: TensorInfo, groups: Sequence[SnapshotGram] | SnapshotGram) -> None:
        """Keep a tensor's groups as they were measured, or its exact Gram matrix."""
        self._sizes[tensor.name] = tensor.size
        self._exact[tensor.name] = isinstance(groups, SnapshotGram)
        for g, group in enumerate([groups] if isinstance(groups, SnapshotGram) else groups):
            self._store.put(f"{g}/{tensor.name}", group)

    def groups(self, name: str) -> list[SnapshotGram]:
        """Return the groups of a tensor that was not read whole, as they were put."""
        return [self._store[f"{g}/{name}"] for g in range(GROUPS)]

    def measured(self, name: str) -> MeasuredGram:
        """Return a tensor's independent estimates, each scaled to stand for all its weights."""
        if self._exact[name]:
            return MeasuredGram.of_all_weights(self._store[f"0/{name}"])
        groups = tuple(g.standing_for(self._sizes[name]) for g in self.groups(name))
        return MeasuredGram(groups, counted_alike=self._counted_alike)

    def without(self, group: int) -> Mapping[str, SnapshotGram]:
        """Return the estimates that leave one group out."""
        return _WithoutGroup(self, group)

    def is_exact(self, name: str | None = None) -> bool:
        """Whether every weight of a tensor, or of all of them, was read."""
        return all(self._exact.values()) if name is None else self._exact[name]

    @property
    def weights(self) -> int:
        """Number of weights the estimates stand for."""
        return sum(self._sizes.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know."""
        return self._store.notes

    def __getitem__(self, name: str) -> SnapshotGram:
        return self.measured(name).gram

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)


class _WithoutGroup(Mapping[str, SnapshotGram]):
    """The estimates of ``MeasuredGrams`` from all groups but one."""

    def __init__(self, grams: MeasuredGrams, group: int) -> None:
        self._grams, self._group = grams, group

    def __getitem__(self, name: str) -> SnapshotGram:
        measured = self._grams.measured(name)
        return measured.gram if measured.exact else measured.without(self._group)

    def __iter__(self) -> Iterator[str]:
        return iter(self._grams)

    def __len__(self) -> int:
        return len(self._grams)


def projected_grams(
    run: Run,
    tensors: Sequence[TensorInfo],
    measuring: Measuring,
    on_progress: ProgressListener | None = None,
) -> MeasuredGrams:
    """Read all of each tensor and keep random combinations of its weights.

    Raises
    ------
    KoopscopeError
        If the run holds no snapshot, or cannot be read.
    """
    grams = MeasuredGrams(run.description.snapshots)
    small = [tensor for tensor in tensors if tensor.size <= measuring.count]
    exact = snapshot_grams(run, small, on_progress)
    for index, tensor in enumerate(tensors):
        if tensor.name in exact:
            grams.put(tensor, exact[tensor.name])
            continue
        rng = np.random.default_rng((measuring.seed, index))
        projection = PROJECTIONS[measuring.measurement](
            run.description.snapshots, measuring.count, rng
        )
        for block in run.blocks([tensor]):
            projection.add(block.values)
            if on_progress is not None:
                on_progress(block.values.nbytes)
        grams.put(tensor, [group.of_pairs() for group in projection.result()])
    grams.weights_read = grams.weights
    return grams


class Sample:
    """Cells drawn so far from every tensor, dealt out to the groups; more can be drawn.

    Parameters
    ----------
    run, tensors
        What is sampled.
    seed
        Of the random choice.
    on_progress
        Called with the bytes of every read.
    """

    def __init__(
        self,
        run: Run,
        tensors: Sequence[TensorInfo],
        seed: int,
        on_progress: ProgressListener | None = None,
    ) -> None:
        self.run = run
        self.grams = MeasuredGrams(run.description.snapshots)
        self._tensors = tensors
        self._rng = np.random.default_rng(seed)
        self._on_progress = on_progress
        self._drawn = dict.fromkeys((tensor.name for tensor in tensors), 0)

    def draw(self, count: int) -> None:
        """Read about ``count`` more weights: half alike from all tensors, half where most moves.

        The error of a sum of strata is smallest when cells are dealt out in proportion to what
        each stratum contributes to it (Neyman 1934); an equal half keeps small layers' own spectra
        from resting on nothing.

        Raises
        ------
        KoopscopeError
            If the run holds no snapshot, or cannot be read.
        """
        cells = max(1, count // CELL)
        self._draw_by([1.0] * len(self._open()), cells - cells // 2)
        energies = [float(np.trace(self.grams[tensor.name].increments)) for tensor in self._open()]
        self._draw_by(energies, cells // 2, least=0)

    def _open(self) -> list[TensorInfo]:
        """Tensors that have not been read whole."""
        return [
            tensor
            for tensor in self._tensors
            if tensor.name not in self.grams or not self.grams.is_exact(tensor.name)
        ]

    def _draw_by(self, shares: Sequence[float], cells: int, least: int = GROUPS) -> None:
        """Read about as many weights as ``cells`` full cells hold, dealt out by shares."""
        finite = [share if np.isfinite(share) else 0.0 for share in shares]
        tensors = self._open()
        wanted = {
            tensor.name: _as_many_cells(self._cells(tensor), count)
            for tensor, count in zip(tensors, allotted(finite, cells, least), strict=True)
        }
        all_of_it = {
            tensor.name: tensor
            for tensor in tensors
            if (self._drawn[tensor.name] + wanted[tensor.name])
            >= _WORTH_ALL * len(self._cells(tensor))
        }
        exact = snapshot_grams(self.run, list(all_of_it.values()), self._on_progress)
        for name, tensor in all_of_it.items():
            self.grams.weights_read += tensor.size - self._read_before(tensor)
            self.grams.put(tensor, exact[name])
        for tensor in self._open():
            if wanted[tensor.name]:
                self._draw_cells(tensor, wanted[tensor.name])

    def _cells(self, tensor: TensorInfo) -> Cells:
        return Cells(tensor.shape, max(CELL, self.run.grain(tensor)))

    def _read_before(self, tensor: TensorInfo) -> int:
        if tensor.name not in self.grams:
            return 0
        return sum(group.size for group in self.grams.groups(tensor.name))

    def _draw_cells(self, tensor: TensorInfo, count: int) -> None:
        """Draw more cells of a tensor; this thread reads, the others multiply."""
        cells = self._cells(tensor).drawn(count, self._rng)
        for cell in cells:  # places far apart: a disk serves many at once much faster
            self.run.announce(tensor, *cell)
        groups: list[SnapshotGram | None] = [None] * GROUPS
        if tensor.name in self.grams:
            groups = list(self.grams.groups(tensor.name))
        running: deque[tuple[int, Future[SnapshotGram]]] = deque()

        def collect() -> None:
            g, product = running.popleft()
            part, before = product.result(), groups[g]
            self.grams.weights_read += part.size
            groups[g] = part if before is None else before + part

        with product_threads(1), ThreadPoolExecutor(cores()) as pool:
            for g in range(GROUPS):
                mine = cells[g::GROUPS]
                for first in range(0, len(mine), _CELLS_AT_ONCE):
                    values = [self._read(tensor, *cell) for cell in mine[first:][:_CELLS_AT_ONCE]]
                    running.append((g, pool.submit(_products, values)))
                    if len(running) > cores():
                        collect()
            while running:
                collect()
        self._drawn[tensor.name] += count
        self.grams.put(tensor, [group for group in groups if group is not None])

    def _read(self, tensor: TensorInfo, start: int, stop: int) -> FloatArray:
        values = np.empty(
            (self.run.description.snapshots, stop - start), self.run.read_dtype(tensor)
        )
        self.run.read(tensor, start, stop, values)
        if self._on_progress is not None:
            self._on_progress(values.nbytes)
        return values


def _as_many_cells(cells: Cells, full: int) -> int:
    """Return how many of a tensor's cells hold as many weights as ``full`` full ones, in groups."""
    size = math.prod(cells.shape) / len(cells)
    return math.ceil(full * CELL / size / GROUPS) * GROUPS


def _products(blocks: Sequence[FloatArray]) -> SnapshotGram:
    accumulator = GramAccumulator(len(blocks[0]), pairs=True)
    for values in blocks:
        accumulator.add(values)
    return accumulator.result()
