"""One pass over a run in this process: every tensor's snapshot Gram matrix, in bounded memory.

This thread reads block after block, in the order of the file and one at a time (HDF5 serves one
reader); the others multiply what was read. Blocks are cut the same way whatever the number of
threads, and summed in order, so a run has one result. A pass holds ``Plan.memory_bytes``, never a
whole snapshot.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from koopscope._threads import cores, product_threads
from koopscope.engine.source import Portion, ProgressListener, exact_pass_seconds
from koopscope.engine.store import GramStore
from koopscope.engine.unit_axes import UnitAxes
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.views.excerpt import Excerpt
from koopscope.spectra.accumulating import SPAN, GramAccumulator, Precision
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.gram_joins import held

#: Up to this many snapshots products are float64. Beyond, their cost (N T^2) outgrows the reading,
#: and float32 products summed in float64 halve it.
DOUBLE_UP_TO = 300

#: What a pass may hold, roughly, beyond the interpreter: see ``Plan``.
PASS_BYTES = 128 * 2**20

_BLOCK_BYTES = 8 * 2**20
_TENSORS_PER_BATCH = 64


@dataclass(frozen=True)
class Plan:
    """How a pass over ``snapshots`` snapshots is shared out.

    Attributes
    ----------
    width
        Weights per block of a tensor.
    workers
        Threads that multiply.
    product_threads
        Threads each product may use.
    precision
        Of the products.
    """

    snapshots: int
    width: int
    workers: int
    product_threads: int
    precision: Precision

    @classmethod
    def of(cls, snapshots: int, item_bytes: int = 4, processors: int | None = None) -> Plan:
        """Plan for what this machine has."""
        processors = processors or cores()
        T = max(1, snapshots)
        width = max(SPAN, _BLOCK_BYTES // (T * item_bytes) // SPAN * SPAN)
        precision: Precision = "double" if T <= DOUBLE_UP_TO else "single"
        alone = cls(T, width, 1, processors, precision)
        each = alone.memory_bytes(item_bytes, 1) - alone.memory_bytes(item_bytes, 0)
        workers = int(min(processors, max(1, PASS_BYTES // each)))
        return cls(T, width, workers, max(1, processors // workers), precision)

    @property
    def note(self) -> str:
        """What a reader of the numbers has to know of it, or nothing."""
        if self.precision == "double":
            return ""
        return (
            f"the inner products of {self.snapshots} snapshots were multiplied in float32 and "
            "summed in float64: singular values below about 3e-4 of the largest are not resolved"
        )

    def memory_bytes(self, item_bytes: int = 4, workers: int | None = None) -> int:
        """Return what the pass holds: w (T (width b + 8 span) + 24 T^2) + T width b + 16 T^2."""
        T, w = self.snapshots, self.workers if workers is None else workers
        block = T * self.width * item_bytes
        return w * (block + 8 * T * SPAN + 24 * T * T) + block + 16 * T * T


class LocalPass:
    """The ``GramSource`` that reads the run in this process."""

    opens_files: ClassVar[bool] = False
    remarks: ClassVar[tuple[str, ...]] = ()

    def __call__(
        self,
        run: Run,
        tensors: Sequence[TensorInfo],
        on_progress: ProgressListener | None = None,
    ) -> GramStore:
        """Return the Gram matrices of these tensors."""
        return snapshot_grams(run, tensors, on_progress)

    def expected_seconds(self, run: Run, tensors: Sequence[TensorInfo]) -> float:
        """Return about how long the pass takes."""
        return exact_pass_seconds(run, tensors)


def snapshot_grams(
    run: Run,
    tensors: Sequence[TensorInfo] | None = None,
    on_progress: ProgressListener | None = None,
) -> GramStore:
    """Return the Gram matrix of each tensor by name, in model order, from one streaming pass."""
    chosen = run.description.tensors if tensors is None else tensors
    store = GramStore(run.description.snapshots)
    store.note(Plan.of(run.description.snapshots).note)
    portions = [Portion.of(tensor) for tensor in chosen]
    for portion, gram in portion_grams(run, portions, on_progress):
        store.put(portion.tensor.name, gram)
    return store


def window_grams(
    run: Run,
    tensors: Sequence[TensorInfo],
    window: slice,
    on_progress: ProgressListener | None = None,
) -> GramStore:
    """Return Gram matrices that hold only the products inside a window of snapshots.

    The cost of many snapshots is that of their products: those of a tenth of them cost a hundredth.
    Outside of the window the weights appear to stand still.
    """
    snapshots = run.description.snapshots
    inside = len(range(snapshots)[window])
    store = GramStore(snapshots)
    store.note(Plan.of(inside).note)
    store.note(f"only the {inside} snapshots of the window were multiplied, of {snapshots}")
    portions = [Portion.of(tensor) for tensor in tensors]
    for portion, gram in portion_grams(
        Excerpt(run, window, Plan.of(snapshots).width), portions, on_progress
    ):
        store.put(portion.tensor.name, held(gram, window.start, snapshots))
    return store


def refuse_empty(run: Run) -> None:
    """Raise ``KoopscopeError`` if a run holds no snapshot."""
    if not run.description.snapshots:
        raise KoopscopeError(
            "the run holds no snapshot", "record at least one with Recorder.snapshot()"
        )


def portion_grams(
    run: Run,
    portions: Iterable[Portion],
    on_progress: ProgressListener | None = None,
    since: int = 0,
    plan: Plan | None = None,
) -> Iterator[tuple[Portion, SnapshotGram]]:
    """Yield each portion with its Gram matrix, in order.

    A portion's borders must be borders of ``run.cuts``: whole tensors always are. For ``since`` see
    ``GramAccumulator``; the plan is for the whole machine if not given.
    """
    snapshots = run.description.snapshots
    refuse_empty(run)
    plan = plan or Plan.of(snapshots)
    portion_gram = GramAccumulator(snapshots)
    with product_threads(plan.product_threads) as asked:
        workers = plan.workers if asked else 1
        multiply = _Multiplier(plan, since, UnitAxes(run.description))
        for piece, gram in _multiplied(run, multiply, workers, portions, on_progress):
            portion = piece.portion
            if piece.stop < portion.stop:
                portion_gram.absorb(gram)
            elif piece.start == portion.start:
                yield portion, gram
            else:
                portion_gram.absorb(gram)
                yield portion, portion_gram.result()
                portion_gram.clear()


@dataclass(frozen=True)
class _Piece:
    """One block of a portion, small enough to be read at once."""

    portion: Portion
    start: int
    stop: int


_Loaded = list[tuple[_Piece, npt.NDArray[np.floating[Any]]]]
_Multiplied = list[tuple[_Piece, SnapshotGram]]


def _multiplied(
    run: Run,
    multiply: _Multiplier,
    workers: int,
    portions: Iterable[Portion],
    on_progress: ProgressListener | None,
) -> Iterator[tuple[_Piece, SnapshotGram]]:
    """Read here, multiply in ``workers`` threads, and yield the products in the order of reading.

    One block more than there are workers is in flight, so that reading never waits for a product.
    """
    buffers = [np.empty(0, np.uint8) for _ in range(workers + 1)]
    running: deque[tuple[Future[_Multiplied], int]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="koopscope-product")
    try:
        free = list(range(len(buffers)))
        for batch in _batches(run, multiply.plan, portions):
            if not free:
                done, index = running.popleft()
                yield from done.result()
                free.append(index)
            index = free.pop()
            loaded, buffers[index] = _load(run, batch, buffers[index])
            running.append((pool.submit(multiply, loaded), index))
            if on_progress is not None:
                on_progress(sum(values.nbytes for _, values in loaded))
        while running:
            yield from running.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(run: Run, plan: Plan, portions: Iterable[Portion]) -> Iterator[list[_Piece]]:
    """Cut portions into blocks, and gather small ones until they fill a block."""
    limit = min(_TENSORS_PER_BATCH, 1 + 2**21 // max(1, plan.snapshots) ** 2)
    batch: list[_Piece] = []
    filled = 0
    for portion in portions:
        for start, stop in run.cuts(portion.tensor, plan.width):
            if not portion.start <= start < portion.stop:
                continue
            if batch and (filled + stop - start > plan.width or len(batch) >= limit):
                yield batch
                batch, filled = [], 0
            batch.append(_Piece(portion, start, stop))
            filled += stop - start
    if batch:
        yield batch


def _load(
    run: Run, batch: list[_Piece], buffer: npt.NDArray[np.uint8]
) -> tuple[_Loaded, npt.NDArray[np.uint8]]:
    """Read the pieces of a batch one behind the other into a buffer, grown where too small."""
    snapshots = run.description.snapshots
    dtypes = [run.read_dtype(piece.portion.tensor) for piece in batch]
    shapes = [(snapshots, piece.stop - piece.start) for piece in batch]
    sizes = [
        -(-rows * columns * dtype.itemsize // 64) * 64
        for (rows, columns), dtype in zip(shapes, dtypes, strict=True)
    ]
    if len(buffer) < sum(sizes):
        buffer = np.empty(sum(sizes), np.uint8)
    loaded: _Loaded = []
    offset = 0
    for piece, shape, dtype, size in zip(batch, shapes, dtypes, sizes, strict=True):
        words = buffer[offset : offset + shape[0] * shape[1] * dtype.itemsize]
        values = words.view(dtype).reshape(shape)
        run.read(piece.portion.tensor, piece.start, piece.stop, values)
        loaded.append((piece, values))
        offset += size
    return loaded, buffer


class _Multiplier:
    """Turns blocks into Gram matrices, with buffers of its own for every thread."""

    def __init__(self, plan: Plan, since: int, axes: UnitAxes) -> None:
        self.plan = plan
        self._since = since
        self._axes = axes
        self._own = threading.local()

    def __call__(self, loaded: _Loaded) -> _Multiplied:
        if not hasattr(self._own, "accumulator"):
            self._own.accumulator = GramAccumulator(
                self.plan.snapshots, self.plan.precision, self._since, pairs=True
            )
        accumulator: GramAccumulator = self._own.accumulator
        parts: _Multiplied = []
        for piece, values in loaded:
            accumulator.clear()
            accumulator.add(values, piece.start, self._axes(piece.portion.tensor))
            parts.append((piece, accumulator.result()))
        return parts
