"""Turn a recorded run, or checkpoints of other programs, into a run file of sketches.

Reads tensor by tensor, every weight once, and holds the cells of one tensor's snapshots: no whole
tensor. The file appears under its name when it is complete.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.runs.claims import sole_writer
from koopscope.runs.detect.converting import plans_of
from koopscope.runs.native.creating import create_run
from koopscope.runs.native.sketch_layout import SketchedTensor
from koopscope.runs.nodes import outputs_among
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.sketches import FACTS, LATER_FACTS, SketchInfo
from koopscope.runs.sketching.facts import Remembered, sampled_places
from koopscope.runs.sketching.pattern import Pattern, TensorPattern
from koopscope.runs.sketching.projection import Sums, sums_of
from koopscope.runs.sketching.sketcher import numbers_of, room_for
from koopscope.runs.sketching.unit_motion import UnitHistory, UnitSample

#: Bytes of cells of a tensor's snapshots that are held at once.
_CELL_BYTES = 64 * 2**20

#: Where the facts on units are.
_UNIT_COLUMNS = [FACTS.index(name) for name in LATER_FACTS]


def convert_to_sketch(
    run: Run,
    output: Path,
    info: SketchInfo,
    *,
    tensors: Sequence[TensorInfo],
    metrics: Mapping[str, npt.NDArray[np.float64]],
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Write a run file with sketches of the snapshots of ``run``.

    Parameters
    ----------
    run, tensors
        What to sketch, and which of its tensors.
    output
        The run file; replaced if it exists.
    info
        How to sketch.
    metrics
        Values per snapshot to store besides the run's own, float64 [T] each.
    on_progress
        Called with the number of bytes that have just been read.

    Raises
    ------
    KoopscopeError
        If a source cannot be read, a name cannot be stored, or another process writes the output.
    OSError
        If the file cannot be written.
    """
    output = Path(os.path.realpath(output))
    with sole_writer(output):
        _write(run, output, info, tensors, metrics, on_progress)


def _write(
    run: Run,
    output: Path,
    info: SketchInfo,
    tensors: Sequence[TensorInfo],
    metrics: Mapping[str, npt.NDArray[np.float64]],
    on_progress: Callable[[int], None] | None,
) -> None:
    description = run.description
    snapshots = description.snapshots
    plans = plans_of(description.path, tensors)
    room = room_for([tensor.size for tensor in tensors])
    layout = [_layout(tensor, info, room) for tensor in tensors]
    changes = np.zeros((snapshots, sum(each.numbers for each in layout)), np.float32)
    facts = np.zeros((snapshots, len(tensors), len(FACTS)))
    column = 0
    for place, (tensor, each) in enumerate(zip(tensors, layout, strict=True)):
        counter = _UnitCounter.of(run, tensor, tensors, info)
        values, facts[:, place] = _sketched(run, tensor, info, room, counter, on_progress)
        finite = facts[:, place, FACTS.index("nonfinite")] == 0.0
        changes[:, column : column + each.numbers] = _changes(values, finite)
        column += each.numbers
    metadata = {**description.metadata, "converted_from": description.format}
    replace = 0 if output.exists() else None
    with create_run(
        output, plans, description.skipped, metadata, replace=replace, sketch=(info, layout)
    ) as writer:
        assert writer.sketch is not None
        writer.sketch.write(0, changes, facts)
        for name, values in {**description.metrics, **metrics}.items():
            writer.write_metric(name, *values.tolist())
        writer.commit(*description.steps.tolist())


def _layout(tensor: TensorInfo, info: SketchInfo, room: int) -> SketchedTensor:
    numbers = numbers_of(tensor.shape, tensor.dtype, info.numbers)
    own = tensor.size * (2 if tensor.is_complex else 1)
    resolution = 0.0 if own <= room else math.sqrt(2.0 / room)
    return SketchedTensor(
        tensor.name, tensor.shape, tensor.dtype, tensor.kind, numbers, resolution, tensor.size
    )


def _changes(values: Float64, finite: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the rows of the file: float32, each rounded against the sum of those before it."""
    changes = np.zeros(values.shape, np.float32)
    position = np.zeros(values.shape[1])
    for t in np.flatnonzero(finite):
        changes[t] = values[t] - position
        position += changes[t]
    return changes


@dataclass(frozen=True)
class _UnitCounter:
    """Counts the units of one matrix that stand still, snapshot by snapshot."""

    sample: UnitSample
    bias: Float64 | None
    history: UnitHistory

    @classmethod
    def of(
        cls, run: Run, tensor: TensorInfo, tensors: Sequence[TensorInfo], info: SketchInfo
    ) -> _UnitCounter | None:
        """Return the counter of a matrix of real numbers, ``None`` for other tensors."""
        if len(tensor.shape) < 2 or tensor.is_complex or not tensor.size:
            return None
        axis, bias = outputs_among(tensor, {each.name: each for each in tensors})
        sample = UnitSample.of(tensor.shape, axis)
        beside = None
        if bias is not None and not bias.is_complex:
            chosen = UnitSample.of(bias.shape, 0).places
            beside = np.empty((run.description.snapshots, len(chosen)))
            for block in run.blocks([bias]):
                inside = (chosen >= block.start) & (chosen < block.stop)
                beside[:, inside] = block.values[:, chosen[inside] - block.start]
        signs = Pattern.of(info.numbers, info.seed).signs
        return cls(sample, beside, UnitHistory(signs, sample.inputs))

    def counts(self, t: int, entries: npt.NDArray[np.generic]) -> tuple[float, float, float]:
        """Return how many units are judged, dead, and always were, up to snapshot t."""
        weights = entries.astype(np.float64).reshape(self.sample.units, self.sample.inputs)
        return self.history.add(weights, None if self.bias is None else self.bias[t])


def _sketched(
    run: Run,
    tensor: TensorInfo,
    info: SketchInfo,
    room: int,
    counter: _UnitCounter | None,
    on_progress: Callable[[int], None] | None,
) -> tuple[Float64, Float64]:
    """Return the sketches [T, k] and the facts [T, len(FACTS)] of a tensor."""
    pairs = 2 if tensor.is_complex else 1
    own = Pattern.of(info.numbers, info.seed).tensor(tensor.name, pairs * tensor.size)
    wide = tensor.dtype in ("float64", "complex128")
    sampled, rows, _ = sampled_places(tensor.shape)
    places = np.arange(tensor.size)[sampled] if isinstance(sampled, slice) else sampled
    compared = len(places)
    if counter is not None:
        places = np.concatenate([places, counter.sample.places])
    memory = Remembered(room, np.float64 if wide else np.float32, max(1, rows))
    snapshots = run.description.snapshots
    together = max(1, _CELL_BYTES // (8 * own.cells))
    values, facts = np.empty((snapshots, own.numbers)), np.empty((snapshots, len(FACTS)))
    for first in range(0, snapshots, together):
        stop = min(first + together, snapshots)
        sums, samples = _read(run, tensor, own, places, (first, stop), on_progress)
        for t in range(first, stop):
            values[t] = own.reduced(sums[t - first].cells)
            facts[t] = memory.facts(sums[t - first], samples[t - first, :compared])
            if counter is not None:
                facts[t, _UNIT_COLUMNS] = counter.counts(t, samples[t - first, compared:])
        on_progress = None  # later passes over the same tensor read nothing new
    return values, facts


def _read(
    run: Run,
    tensor: TensorInfo,
    own: TensorPattern,
    chosen: npt.NDArray[np.intp],
    window: tuple[int, int],
    on_progress: Callable[[int], None] | None,
) -> tuple[list[Sums], npt.NDArray[np.generic]]:
    """Return the cells of some snapshots and their sampled entries, from one pass."""
    first, stop = window
    count = stop - first
    cells = np.zeros((count, own.cells))
    square, largest, bad = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
    samples = np.empty((count, len(chosen)), run.read_dtype(tensor))
    pairs = 2 if tensor.is_complex else 1
    for block in run.blocks([tensor]):
        inside = (chosen >= block.start) & (chosen < block.stop)
        samples[:, inside] = block.values[first:stop, chosen[inside] - block.start]
        where = (0, pairs * block.start, pairs * (block.stop - block.start))
        for t in range(count):
            flat = block.values[first + t]
            found = sums_of(flat.view(flat.real.dtype), flat.dtype.name, [where], own)
            cells[t] += found.cells
            square[t] += found.square
            largest[t] = max(largest[t], found.largest)
            bad[t] += found.nonfinite
        if on_progress is not None:
            on_progress(block.values.nbytes)
    if own.size <= own.cells:
        square = np.square(cells).sum(axis=1)
    cells[bad > 0] = 0.0
    sums = [Sums(cells[t], float(square[t]), float(largest[t]), int(bad[t])) for t in range(count)]
    return sums, samples
