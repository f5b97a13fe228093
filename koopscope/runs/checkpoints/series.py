"""A series of checkpoints as one run, read in place.

Puts snapshots in the order of their steps and makes sure that they belong together; holds no more
open files, and no more of a tensor, than it was asked for.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.copies import is_copy, left_out, without_copies
from koopscope.runs.checkpoints.numbering import (
    has_role_for_number,
    must_be_one_run,
    steps_from_names,
)
from koopscope.runs.checkpoints.snapshot import Snapshot, TensorReader
from koopscope.runs.handover import Handover
from koopscope.runs.names import Unit, conventional
from koopscope.runs.run import FloatArray, Run, RunDescription, TensorInfo

#: Checkpoints kept open at once; the others are opened for each part that is read of them.
OPEN_FILES = 256

#: Checkpoints left out that are named one by one.
_NOTES = 3


class SnapshotRun(Run):
    """A run whose snapshots can be read one at a time."""

    @abstractmethod
    def read_snapshot(
        self, index: int, tensor: TensorInfo, start: int, stop: int, out: FloatArray
    ) -> None:
        """Fill ``out`` (stop - start) from one snapshot of the flattened tensor."""

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T, stop - start) with those weights of the flattened tensor."""
        for index, row in enumerate(out):
            self.read_snapshot(index, tensor, start, stop, row)


class CheckpointSeries(SnapshotRun):
    """Checkpoint files with one snapshot each.

    Parameters
    ----------
    snapshots
        In any order; looked at one after the other.
    step_pattern
        See ``steps_from_names``; overrides what the files say.
    keep
        Which tensors belong to the run, by name; all of them if not given.
    torn
        Sentences about checkpoints that ``snapshots`` leaves out; asked for when it has ended.

    Attributes
    ----------
    unit
        What the steps count.
    paths
        The checkpoints, in the order of their steps.

    Raises
    ------
    KoopscopeError
        If steps are unknown or double, or the tensors of two checkpoints differ.
    """

    def __init__(
        self,
        snapshots: Iterable[Snapshot],
        *,
        step_pattern: str | None = None,
        keep: Callable[[str], bool] = lambda name: True,
        torn: Sequence[str] = (),
    ) -> None:
        matching = _matching(snapshots, keep)
        first = matching[0]
        if step_pattern is None:
            must_be_one_run([snapshot.path for snapshot in matching])
        matching, unnumbered = _without_roles(matching, first.tensors, step_pattern)
        steps, self.unit, notes = _steps(matching, step_pattern)
        order, copies = without_copies(matching, steps, self.unit, first.tensors)
        matching, steps = [matching[i] for i in order], [steps[i] for i in order]
        self.paths = [snapshot.path for snapshot in matching]
        self._open_snapshot = [snapshot.open for snapshot in matching]
        self._open: dict[int, TensorReader] = {}
        several = len(matching) > 1
        self.description = RunDescription(
            path=f"{matching[0].path} ... {matching[-1].path}" if several else first.path,
            format=f"{first.kind}, {len(matching)} checkpoint{'s' if several else ''}",
            steps=np.array(steps, np.int64),
            tensors=first.tensors,
            metrics=_metrics(matching, steps, self.unit),
            metadata=matching[-1].metadata,
            skipped=first.skipped,
            unread=tuple(torn),
            notes=(*torn, *first.notes, *notes, *_shortened([*unnumbered, *copies])),
        )

    def read_snapshot(
        self, index: int, tensor: TensorInfo, start: int, stop: int, out: FloatArray
    ) -> None:
        """Fill ``out`` (stop - start) from one checkpoint."""
        reader = self._open.get(index)
        if reader is None:
            reader = self._open_snapshot[index]()
            if len(self._open) >= OPEN_FILES:
                try:
                    return reader.read(tensor, start, stop, out)
                finally:
                    reader.close()
            self._open[index] = reader
        return reader.read(tensor, start, stop, out)

    def release(self, index: int) -> None:
        """Close one checkpoint that will not be needed soon."""
        if index in self._open:
            self._open.pop(index).close()

    def close(self) -> None:
        """Close the files."""
        for index in tuple(self._open):
            self.release(index)
        for waiting in self._open_snapshot:
            if isinstance(waiting, Handover):
                waiting.close()


def _matching(snapshots: Iterable[Snapshot], keep: Callable[[str], bool]) -> list[Snapshot]:
    """Return the snapshots, all with the tensors of the first; their own lists are dropped."""
    matching: list[Snapshot] = []
    for snapshot in snapshots:
        tensors = tuple(tensor for tensor in snapshot.tensors if keep(tensor.name))
        if not tensors:
            why = "; ".join(f"{skip.name}: {skip.reason}" for skip in snapshot.skipped[:3])
            raise KoopscopeError(
                f"{snapshot.path} holds no tensor of floats to read", why or "nothing is in it"
            )
        if matching:
            _must_match(matching[0], snapshot.path, tensors)
            snapshot = replace(snapshot, tensors=(), skipped=())
        else:
            snapshot = replace(snapshot, tensors=tensors)
        matching.append(snapshot)
    if not matching:
        raise KoopscopeError("there is no checkpoint to read", "name checkpoint files")
    return matching


def _must_match(first: Snapshot, path: str, tensors: Sequence[TensorInfo]) -> None:
    if tensors == first.tensors:
        return
    known = {tensor.name: tensor for tensor in first.tensors}
    hint = (
        "one run holds one network: leave the file out, or the tensor with "
        "`koopscope convert --exclude NAME`"
    )
    for tensor in tensors:
        expected = known.pop(tensor.name, None)
        if expected is None:
            raise KoopscopeError(f"{path} holds {tensor.name}, which {first.path} lacks", hint)
        if expected.shape != tensor.shape:
            raise KoopscopeError(
                f"{tensor.name} has shape {list(tensor.shape)} in {path} and "
                f"{list(expected.shape)} in {first.path}",
                hint,
            )
        if expected.dtype != tensor.dtype:
            raise KoopscopeError(
                f"{tensor.name} is {tensor.dtype} in {path} and {expected.dtype} in {first.path}",
                "rounding would look like motion: use checkpoints of one precision",
            )
    for name in known:
        raise KoopscopeError(f"{path} lacks {name}, which {first.path} holds", hint)


def _without_roles(
    snapshots: list[Snapshot], tensors: Sequence[TensorInfo], pattern: str | None
) -> tuple[list[Snapshot], list[str]]:
    """Set ``last`` and ``best`` aside where nothing tells their step, and say why."""
    aside = [s for s in snapshots if s.step is None and has_role_for_number(s.path)]
    numbered = [s for s in snapshots if s not in aside]
    if pattern is not None or not aside or not numbered:
        return snapshots, []
    sentences = []
    for snapshot in aside:
        same = next((s for s in reversed(numbered) if is_copy(snapshot, s, tensors)), None)
        sentences.append(
            left_out(snapshot, same)
            if same is not None
            else f"{snapshot.path} is left out: neither its name nor the file tells its step"
        )
    return numbered, sentences


def _shortened(sentences: list[str]) -> list[str]:
    more = len(sentences) - _NOTES
    return [*sentences[:_NOTES], *([f"and {more} more are left out so"] if more > 0 else [])]


def _steps(
    snapshots: Sequence[Snapshot], pattern: str | None
) -> tuple[list[int], Unit, tuple[str, ...]]:
    said = [snapshot.step for snapshot in snapshots if snapshot.step is not None]
    units = {snapshot.unit for snapshot in snapshots}
    if pattern is None and len(said) == len(snapshots) and len(units) == 1:
        unit = units.pop()
        return said, unit, (f"{unit}s come from the checkpoints themselves",)
    try:
        steps, unit = steps_from_names([snapshot.path for snapshot in snapshots], pattern)
    except KoopscopeError:
        if pattern is not None or len(snapshots) > 1:
            raise
        return [0], "step", ("a single checkpoint without a step: it is called step 0",)
    return list(steps), unit, (f"{unit}s come from the names",)


def _metrics(
    snapshots: Sequence[Snapshot], steps: Sequence[int], unit: Unit
) -> dict[str, npt.NDArray[np.float64]]:
    table: dict[str, npt.NDArray[np.float64]] = {}
    log = max((snapshot.log for snapshot in snapshots), key=len)
    if unit == "step":
        table.update(metrics_at(steps, log))
    for row, snapshot in enumerate(snapshots):
        for name, value in snapshot.metrics.items():
            name = conventional(name)
            table.setdefault(name, np.full(len(steps), np.nan))[row] = value
    return table


def metrics_at(
    steps: Sequence[int], log: Iterable[Mapping[str, float]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Return float64 [T] by metric: the last values logged since the snapshot before, else NaN.

    Parameters
    ----------
    steps
        Of the snapshots, increasing.
    log
        Entries with a ``step`` and any number of values, in the order in which they were written.
    """
    table: dict[str, npt.NDArray[np.float64]] = {}
    for entry in log:
        if "step" not in entry:
            continue
        row = int(np.searchsorted(steps, entry["step"]))
        if row == len(steps):
            continue
        for name, value in entry.items():
            if name != "step" and math.isfinite(value):
                column = table.setdefault(conventional(name), np.full(len(steps), np.nan))
                column[row] = value
    return table
