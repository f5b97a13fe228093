"""Read run files of format 1.0, finished or still being written.

Holds on to the snapshots that were committed when the file was opened; it must never show a row
that was not committed then, and never take a lock that could stop the recorder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.slabs import Slab
from koopscope.runs.hdf5.stacked import StackedRun, patiently, prepared, read_slab
from koopscope.runs.native.header import checked_version, read_metadata, said_skipped
from koopscope.runs.run import RunDescription, Skipped, TensorInfo

#: Snapshots a file may hold: the analysis, quadratic in them, ends long before this.
SNAPSHOT_LIMIT = 2**24

#: What ``@kind`` may say of a dataset, or at the root of all of them.
KINDS = ("parameter", "buffer", "state")


class RunFile(StackedRun):
    """A run file, opened for reading.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    KoopscopeError
        If it cannot be read, is not a run file of a known major version, or is not safe to read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(Path(path))
        self._skipped: list[Skipped] = []
        self._notes: list[str] = []
        # The end of the file is fixed at opening, so the snapshots are counted by an earlier look:
        # whatever was committed then lies before the end that the second opening sees.
        committed = patiently(lambda: _committed_snapshots(self.path))
        self._file = patiently(lambda: self._open(committed))

    def _open(self, committed: int) -> h5py.File:
        file = safety.open_hdf5(self.path)
        try:
            self._tensors.clear()
            self._skipped.clear()
            self._notes.clear()
            with safety.hdf5_failures(self.path):
                self.description = self._describe(h5py.h5g.open(file.id, b"/"), committed)
        except BaseException:
            self._tensors.clear()
            file.close()
            raise
        return file

    def _describe(self, root: h5py.h5g.GroupID, committed: int) -> RunDescription:
        layout = checked_version(self.path, root, self._notes)
        contents = dict(safety.members(root))
        steps = _read_steps(self.path, contents.pop("step", None), committed)
        weights = contents.pop("weights", None)
        metrics = contents.pop("metrics", None)
        if not isinstance(weights, h5py.h5g.GroupID):
            raise _unusable(self.path, "/weights", weights, "a group")
        for name, found in contents.items():
            self._skip(f"/{name}", getattr(found, "reason", "not a part of run files"))
        tensors = tuple(self._read_tensors(weights, len(steps), _kind_of(root, "parameter")))
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
        )

    def _read_tensors(
        self, weights: h5py.h5g.GroupID, snapshots: int, default_kind: str
    ) -> Iterator[TensorInfo]:
        interrupted = False
        for name, dataset in self._walk(weights, "", {safety.address(weights): "/weights"}):
            problem = safety.storage_problem(dataset)
            if problem:
                raise _refused(self.path, name, problem)
            info = _tensor_info(name, dataset, default_kind)
            if isinstance(info, str):
                self._skip(name, info)
                continue
            rows = dataset.shape[0]
            if rows < snapshots:
                self._skip(name, f"recorded in only {rows} of {snapshots} snapshots")
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
                raise _refused(self.path, name, member.reason)
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
        for name, member in self._found_metrics(group, "", {safety.address(group)}):
            problem = _metric_problem(member)
            if problem or not isinstance(member, h5py.h5d.DatasetID):
                self._skip(f"/metrics/{name}", problem)
                continue
            values = np.full(snapshots, np.nan)
            rows = min(snapshots, member.shape[0])
            if rows:
                read_slab(member, Slab((), ()), values[:rows, None])
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

    def _skip(self, name: str, reason: str) -> None:
        self._skipped.append(Skipped(name, reason))


def _committed_snapshots(path: Path) -> int:
    with safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        root = h5py.h5g.open(file.id, b"/")
        checked_version(path, root, [])
        if not root.links.exists(b"step"):
            raise _unusable(path, "/step", None, "a list of whole numbers")
        step = safety.member(root, b"step")
        return int(_checked_steps(path, step).shape[0])


def _checked_steps(path: Path, member: safety.Member | None) -> h5py.h5d.DatasetID:
    if not isinstance(member, h5py.h5d.DatasetID):
        raise _unusable(path, "/step", member, "a list of whole numbers")
    problem = safety.storage_problem(member)
    if problem:
        raise _refused(path, "/step", problem)
    shape = member.shape
    if not isinstance(member.get_type(), h5py.h5t.TypeIntegerID) or len(shape or ()) != 1:
        raise _unusable(path, "/step", safety.Refused("of another kind"), "a list of whole numbers")
    if shape[0] > SNAPSHOT_LIMIT:
        raise _refused(path, "/step", f"{shape[0]} snapshots long, more than {SNAPSHOT_LIMIT}")
    return member


def _read_steps(path: Path, member: safety.Member | None, committed: int) -> npt.NDArray[np.int64]:
    dataset = _checked_steps(path, member)
    steps = np.empty(min(int(dataset.shape[0]), committed), np.int64)
    if steps.size:
        read_slab(dataset, Slab((), ()), steps[:, None])
    wrong = np.flatnonzero(steps[1:] <= steps[:-1])
    if wrong.size:
        row = int(wrong[0])
        raise KoopscopeError(
            f"the steps of {path} do not increase: {steps[row + 1]} follows {steps[row]}",
            "record each step once, in order",
        )
    return steps


def _kind_of(labelled: h5py.h5g.GroupID | h5py.h5d.DatasetID, default: str) -> str:
    """Return what an ``@kind`` attribute says, or the default where it says nothing known."""
    kind = safety.text_attribute(labelled, "kind")
    return kind if kind is not None and kind in KINDS else default


def _tensor_info(name: str, dataset: h5py.h5d.DatasetID, default_kind: str) -> TensorInfo | str:
    """Describe a dataset, or say why it is not part of the trajectory."""
    shape = dataset.shape
    if not shape:
        return "a single value without a time axis"
    dtype = safety.stored_dtype(dataset)
    if dtype not in ("float16", "bfloat16", "float32", "float64"):
        return f"{dtype} values, not float16, bfloat16, float32 or float64"
    if math.prod(shape[1:]) == 0:
        return f"no elements (shape {list(shape[1:])})"
    return TensorInfo(name, tuple(shape[1:]), dtype, _kind_of(dataset, default_kind))


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


def _unusable(path: Path, name: str, member: safety.Member | None, wanted: str) -> KoopscopeError:
    found = "is missing" if member is None else getattr(member, "reason", "something else")
    found = found if member is None else f"is {found}, not {wanted}"
    return KoopscopeError(f"{name} of {path} {found}", "the file was not written by a Recorder")


def _refused(path: Path, name: str, problem: str) -> KoopscopeError:
    return KoopscopeError(
        f"{name} of {path} is refused: {problem}",
        "koopscope reads only what the file itself stores",
    )
