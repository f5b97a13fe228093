"""Read run files of format 1.x, finished or still being written.

A run shows the snapshots that were committed when its file was opened and none that came later.
Reading takes no lock that could stop the recorder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import unread_weights, values_problem
from koopscope.runs.hdf5 import safety, structure
from koopscope.runs.hdf5.opened import OpenedFile
from koopscope.runs.hdf5.slabs import Slab
from koopscope.runs.hdf5.stacked import StackedRun, patiently, prepared, read_slab
from koopscope.runs.native.committed import Committed, Content, committed_in
from koopscope.runs.native.header import checked_version, generation_of, read_metadata, said_skipped
from koopscope.runs.native.sketch_layout import GROUP as SKETCH
from koopscope.runs.native.sketch_reader import KeptRun, SketchTable
from koopscope.runs.native.steps import read_steps, refused, unusable
from koopscope.runs.run import FloatArray, Run, RunDescription, Skipped, TensorInfo
from koopscope.runs.sketches import TensorSketch

#: Metrics may take so much memory, and twice the size of the file: one without values is filled up.
METRIC_BYTES = 128 * 2**20

#: What ``@kind`` may say of a dataset, or at the root of all of them.
KINDS = ("parameter", "buffer", "state")


class RunFile(StackedRun):
    """A run file, opened for reading.

    Parameters
    ----------
    path
        The file.
    committed
        What was found committed before the file is opened, if somebody looked.
    opened
        Opens the file, or hands over what was opened for a look; the run closes it.

    Raises
    ------
    KoopscopeError
        If it cannot be read, is not a run file of a known major version, or is not safe to read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        committed: Committed | None = None,
        opened: Callable[[], OpenedFile] | None = None,
    ) -> None:
        super().__init__(Path(path))
        structure.walk_first([self.path], RunFile)
        self._skipped: list[Skipped] = []
        self._notes: list[str] = []
        self._sketches: SketchTable | None = None
        self._kept: tuple[TensorInfo, ...] = ()
        opened = opened or partial(OpenedFile, self.path)
        while (counted := patiently(partial(self._open, opened, committed))) is not None:
            committed = counted

    def read_rows(
        self, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        """Fill ``out`` (len(rows), stop - start) with those weights of some snapshots.

        Raises
        ------
        KoopscopeError
            If they cannot be read, or if snapshots were taken out of the file since it was opened:
            what is read of them may be those recorded since.
        """
        if self._sketches is not None:
            super().with_weights("reading")
        super().read_rows(tensor, start, stop, rows, out)
        self._content.check()

    def sketched(self, tensor: TensorInfo) -> TensorSketch:
        """Return the sketches of a tensor's snapshots.

        Raises
        ------
        KoopscopeError
            If there are none, or as ``read`` does.
        """
        if self._sketches is None:
            return super().sketched(tensor)
        found = self._sketches.of(tensor)
        self._content.check()
        return found

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield ranges that are read well; of a sketched run, whose weights are not there, none.

        Raises
        ------
        KoopscopeError
            If the run holds sketches.
        """
        if self._sketches is not None:
            super().with_weights("reading")
        return super().cuts(tensor, width)

    @property
    def parts(self) -> Mapping[TensorInfo, int]:
        """How many weights went in, of sketched tensors of which the file holds a part alone."""
        return {} if self._sketches is None else self._sketches.parts

    def volume(self, tensors: Sequence[TensorInfo]) -> int:
        """Return how many bytes are read for these tensors."""
        if self._sketches is None:
            return super().volume(tensors)
        return sum(self._sketches.volume(tensor) for tensor in tensors)

    def with_weights(self, purpose: str) -> Run:
        """Return the run, or of a sketched one the snapshots whose weights were kept; it owns both.

        Raises
        ------
        KoopscopeError
            If no weights were kept.
        """
        info = self.description.sketch
        if info is None or not info.kept or not self._kept:
            return super().with_weights(purpose)
        about, rows = self.description, list(info.kept)
        description = replace(
            about,
            steps=about.steps[rows],
            tensors=self._kept,
            metrics={name: values[rows] for name, values in about.metrics.items()},
            notes=(*about.notes, f"{purpose} uses the {len(rows)} snapshots with weights"),
            sketch=None,
        )
        return KeptRun(
            self.path, description, self._file, self._tensors, self._content.check, self.close
        )

    def close(self) -> None:
        """Close the file."""
        self._content.close()
        super().close()

    def _open(self, opener: Callable[[], OpenedFile], before: Committed | None) -> Committed | None:
        """Open the file and describe the run; or only count what is committed, and return that.

        HDF5 fixes the end of a file when it opens it: what is committed later lies behind that end.
        So snapshots count that surely were there before: those of a file that nobody has written to
        since, or those that were counted before it was opened, unless some were taken out between.
        """
        content: Content | None = None
        opened = opener()
        try:
            now = committed_in(opened)
            if not opened.is_unchanged():
                if before is None or before.generation != now.generation:
                    opened.close()
                    return now
                now = before
            self._tensors.clear()
            self._skipped.clear()
            self._notes.clear()
            with safety.hdf5_failures(self.path):
                self.description = self._describe(opened.root, now.snapshots)
            content = Content(opened, now.generation)
            content.check()
        except BaseException:
            self._tensors.clear()
            if content is not None:
                content.close()
            opened.close()
            raise
        self._content, self._file = content, opened.file
        return None

    def _describe(self, root: h5py.h5g.GroupID, committed: int) -> RunDescription:
        layout = checked_version(self.path, root, self._notes)
        contents = dict(safety.members(root))
        steps = read_steps(self.path, contents.pop("step", None), committed)
        weights = contents.pop("weights", None)
        self._sketches = self._read_sketches(contents.pop(SKETCH, None), len(steps))
        metrics = contents.pop("metrics", None)
        if not isinstance(weights, h5py.h5g.GroupID):
            raise unusable(self.path, "/weights", weights, "a group")
        for name, member in contents.items():
            self._skip(f"/{name}", getattr(member, "reason", "not a part of run files"))
        info = self._sketches.info if self._sketches is not None else None
        rows = len(steps) if info is None else len(info.kept)
        tensors = tuple(self._read_tensors(weights, rows, _kind_of(root, "parameter")))
        if self._sketches is not None:
            self._kept, tensors = tensors, self._sketches.tensors
            self._skipped.extend(self._sketches.skipped)
        self._skipped.extend(said_skipped(root))
        return RunDescription(
            path=str(self.path),
            format=layout,
            steps=steps,
            tensors=tensors,
            metrics=dict(self._read_metrics(metrics, len(steps))),
            metadata=read_metadata(root, self._notes),
            skipped=tuple(self._skipped),
            notes=tuple(self._notes),
            generation=generation_of(root),
            sketch=info,
        )

    def _read_sketches(self, member: safety.Member | None, snapshots: int) -> SketchTable | None:
        if member is None:
            return None
        if not isinstance(member, h5py.h5g.GroupID):
            raise unusable(self.path, f"/{SKETCH}", member, "a group")
        return SketchTable(self.path, member, snapshots)

    def _read_tensors(
        self, weights: h5py.h5g.GroupID, snapshots: int, default_kind: str
    ) -> Iterator[TensorInfo]:
        interrupted = False
        for name, dataset in self._walk(weights, "", {safety.address(weights): "/weights"}):
            problem = safety.storage_problem(dataset)
            if problem:
                raise refused(self.path, name, problem)
            shape, dtype = (dataset.shape or ())[1:], safety.stored_dtype(dataset)
            problem = (
                values_problem(dtype, shape)
                if dataset.shape
                else "a single value without a time axis"
            )
            if problem:
                self._skip(name, problem, unread_weights(name, shape, dtype))
                continue
            info = TensorInfo(name, tuple(shape), dtype, _kind_of(dataset, default_kind))
            rows = dataset.shape[0]
            if rows < snapshots:
                why = f"recorded in only {rows} of {snapshots} snapshots"
                self._skip(name, why, info.size)
                continue
            missing = safety.missing_bytes(dataset, snapshots)
            if missing:
                raise KoopscopeError(
                    f"{name} of {self.path} lacks {missing} bytes of its {snapshots} snapshots",
                    "rows that were never written would read as zeros; record the run again",
                )
            interrupted |= rows > snapshots
            self._tensors[name] = prepared(dataset, snapshots)
            yield info
        if interrupted:
            self._notes.append("a snapshot was being written, or was interrupted: it is ignored")

    def _walk(
        self, group: h5py.h5g.GroupID, prefix: str, seen: dict[int, str]
    ) -> Iterator[tuple[str, h5py.h5d.DatasetID]]:
        for key, member in safety.members(group, prefix.count("/")):
            name = prefix + key
            if isinstance(member, safety.Refused):
                raise refused(self.path, name, member.reason)
            where = safety.address(member)
            if where in seen:
                self._skip(name, f"another name of {seen[where]}")
                continue
            seen[where] = name
            if isinstance(member, h5py.h5g.GroupID):
                yield from self._walk(member, f"{name}/", seen)
            else:
                yield name, member

    def _read_metrics(
        self, group: safety.Member | None, snapshots: int
    ) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
        if not isinstance(group, h5py.h5g.GroupID):
            if group is not None:
                self._skip("/metrics", getattr(group, "reason", "not a group"))
            return
        room = METRIC_BYTES + 2 * self.path.stat().st_size
        for name, member in self._found_metrics(group, "", {safety.address(group)}):
            problem = _metric_problem(member)
            if problem or not isinstance(member, h5py.h5d.DatasetID):
                self._skip(f"/metrics/{name}", problem)
                continue
            room -= 8 * snapshots
            if room < 0:
                self._skip(f"/metrics/{name}", "more metrics than the file has room for")
                continue
            values = np.full(snapshots, np.nan)
            rows = min(snapshots, member.shape[0])
            if rows:
                read_slab(member, Slab((), ()), range(rows), values[:rows, None])
            yield name, values

    def _found_metrics(
        self, group: h5py.h5g.GroupID, prefix: str, seen: set[int]
    ) -> Iterator[tuple[str, safety.Member]]:
        for key, member in safety.members(group, prefix.count("/")):
            if not isinstance(member, h5py.h5g.GroupID):
                yield prefix + key, member
            elif safety.address(member) not in seen:
                seen.add(safety.address(member))
                yield from self._found_metrics(member, f"{prefix}{key}/", seen)

    def _skip(self, name: str, reason: str, weights: int = 0) -> None:
        self._skipped.append(Skipped(name, reason, weights))


def _kind_of(labelled: h5py.h5g.GroupID | h5py.h5d.DatasetID, default: str) -> str:
    """Return what an ``@kind`` attribute says, or the default where it says nothing known."""
    kind = safety.text_attribute(labelled, "kind")
    return kind if kind is not None and kind in KINDS else default


def _metric_problem(member: safety.Member) -> str:
    if isinstance(member, safety.Refused):
        return member.reason
    if not isinstance(member, h5py.h5d.DatasetID):
        return "not a dataset"
    problem = safety.storage_problem(member)
    if problem:
        return problem
    numeric = (h5py.h5t.TypeFloatID, h5py.h5t.TypeIntegerID)
    if len(member.shape or ()) != 1 or not isinstance(member.get_type(), numeric):
        return "not a list of numbers"
    return ""
