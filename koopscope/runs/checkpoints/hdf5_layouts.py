"""HDF5 files with a whole trajectory in a layout of somebody else's: found out, read in place.

A group per step, ``[T, ...]`` datasets, one ``[T, N]`` matrix. Where the contents allow two
readings this module says so instead of picking one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.hdf5 import sort_datasets, step_attribute
from koopscope.runs.checkpoints.hdf5_tensors import Datasets, Hdf5File, Hdf5Reader
from koopscope.runs.checkpoints.hdf5_trajectories import (
    StackedLayout,
    TimeLastLayout,
    step_vector,
    weights_of,
)
from koopscope.runs.checkpoints.series import CheckpointSeries
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torn import what_it_lacks
from koopscope.runs.hdf5 import safety
from koopscope.runs.names import COUNTERS
from koopscope.runs.run import Skipped

Layout: TypeAlias = Literal[
    "groups", "stacked", "matrix", "stacked_last", "matrix_last", "snapshot"
]
TimeAxis: TypeAlias = Literal["first", "last"]

_STEP_GROUP = re.compile(
    rf"({'|'.join(COUNTERS)}|checkpoint|ckpt|snapshot)s?[-_ =]?(\d{{1,18}})", re.IGNORECASE
)
_STEP_PARENTS = ("", "steps", "epochs", "snapshots", "checkpoints", "iterations", "trajectory")
_READINGS: Mapping[Layout, str] = {
    "groups": "a group per step",
    "stacked": "[T, ...] datasets",
    "matrix": "one [T, N] matrix",
    "stacked_last": "[..., T] datasets",
    "matrix_last": "one [N, T] matrix",
    "snapshot": "one snapshot",
}
_MATRIX: tuple[Layout, Layout] = ("matrix", "matrix_last")
_STACKED: tuple[Layout, Layout] = ("stacked", "stacked_last")
_HOW_TO_SETTLE = (
    "a whole-number dataset `step` of length T next to the weights says which axis is time, and so "
    "does --time-axis first (or last); groups named step_1, step_2, ... say "
    "that each holds a snapshot; several such files, or their folder, say that each file does"
)


@dataclass(frozen=True)
class Readings:
    """The ways to read the datasets of a file.

    Attributes
    ----------
    possible
        Every layout they may have: of a trajectory, or of one snapshot of it.
    is_matrix
        Whether the weights are a single matrix.
    """

    possible: tuple[Layout, ...]
    is_matrix: bool

    @classmethod
    def of(cls, members: Datasets) -> Readings:
        """Return what the shapes and names of the datasets allow."""
        is_matrix = [len(dataset.shape) for dataset in weights_of(members).values()] == [2]
        return cls(possible=_possible_layouts(members), is_matrix=is_matrix)

    def with_time(self, axis: TimeAxis) -> Readings:
        """Return the one reading with time on that axis, where the axes leave a choice."""
        if not self.possible or self.possible == ("groups",):
            return self
        first, last = _MATRIX if self.is_matrix else _STACKED
        return replace(self, possible=(last if axis == "last" else first,))


def _possible_layouts(members: Datasets) -> tuple[Layout, ...]:
    if _step_groups(members):
        return ("groups",)
    weights = weights_of(members)
    shapes = [tuple(dataset.shape) for dataset in weights.values()]
    if not shapes:
        return ()
    vector = step_vector(members)
    is_matrix = len(shapes) == 1 and len(shapes[0]) == 2
    if vector:
        length = math.prod(members[vector].shape)
        last = all(len(shape) > 1 and shape[0] != length == shape[-1] for shape in shapes)
        if is_matrix:
            return ("matrix_last",) if last else ("matrix",)
        return ("stacked_last",) if last else ("stacked",)
    if is_matrix:
        wide = shapes[0][0] < shapes[0][1]
        return ("matrix", "matrix_last") if wide else ("matrix", "matrix_last", "snapshot")
    rows = {shape[0] if shape else 0 for shape in shapes}
    if len(rows) > 1 or min(rows) < 2:
        return ("snapshot",)
    scalars = any(len(shape) == 1 for shape in shapes)
    return ("stacked", "snapshot") if scalars else ("stacked",)


def open_layout(
    file: Hdf5File, readings: Readings, time_axis: TimeAxis | None = None
) -> GroupPerStep | StackedLayout | TimeLastLayout:
    """Open an HDF5 file that holds a trajectory in another layout than a run file's.

    Parameters
    ----------
    file
        The file, closed with the run that is returned.
    readings
        Of its datasets.
    time_axis
        Which axis of the datasets is time, where the user says so.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or can be read in more than one way, or in none.
    """
    layouts = (readings.with_time(time_axis) if time_axis else readings).possible
    if layouts == ("groups",):
        return GroupPerStep(file)
    if len(layouts) == 1 and layouts[0] != "snapshot":
        reading = _READINGS[layouts[0]]
        if layouts[0].endswith("last"):
            return TimeLastLayout(file, reading)
        return StackedLayout(file, reading)
    file.close()
    if len(layouts) > 1:
        ways = " or as ".join(_READINGS[layout] for layout in layouts)
        raise KoopscopeError(f"{file.path} can be read as {ways}", _HOW_TO_SETTLE)
    raise KoopscopeError(
        f"{file.path} holds {'one snapshot of the weights' if layouts else 'no weights'}",
        "name the whole series, or its folder" if layouts else "record runs with Recorder",
    )


class GroupPerStep(CheckpointSeries):
    """A file with one group per snapshot: ``/step_100/<name>``, ``/epoch_3/<layer>/<name>``.

    Parameters
    ----------
    file
        The file; it is closed with the run.
    """

    def __init__(self, file: Hdf5File) -> None:
        path, self._file = file.path, file.file
        try:
            with safety.hdf5_failures(path):
                groups = _step_groups(file.members)
                torn: list[str] = []
                super().__init__(self._snapshots(path, groups, torn), torn=torn)
                outside = [
                    n for n in file.members if not n.startswith(tuple(f"{g}/" for g in groups))
                ]
        except BaseException:
            file.close()
            raise
        self.paths = [str(path)]
        outer = tuple(Skipped(name, "outside the groups of the steps") for name in outside)
        self.description = replace(
            self.description,
            path=str(path),
            format=f"HDF5, {_READINGS['groups']}",
            skipped=(*self.description.skipped, *outer),
        )

    def close(self) -> None:
        """Close the file, which all snapshots are read from."""
        super().close()
        self._file.close()

    def _snapshots(
        self, path: Path, groups: Mapping[str, Datasets], torn: list[str]
    ) -> Iterator[Snapshot]:
        """Describe the groups; the last one is left out where its writer has not ended it."""
        first: Snapshot | None = None
        last = next(reversed(list(groups)), "")
        for group, members in groups.items():
            try:
                snapshot = self._snapshot(path, group, members)
            except KoopscopeError as error:
                if first is None or group != last:
                    raise
                torn.append(f"the last group is left out, it is not whole: {error.message}")
                return
            lacking = what_it_lacks(snapshot, first) if first and group == last else ""
            if lacking:
                torn.append(
                    f"the last group is left out, it is not whole: {group} of {path} lacks "
                    f"{lacking}, which the others hold"
                )
                return
            first = first or snapshot
            yield snapshot

    def _snapshot(self, path: Path, group: str, members: Datasets) -> Snapshot:
        contents = Contents(f"{path}/{group}")
        sort_datasets(path, members, contents, home=f"{group}/")
        places = {tensor.name: f"{group}/{tensor.name}" for tensor in contents.tensors}
        return contents.snapshot(
            "HDF5 group",
            lambda: _GroupReader(self._file, path, places),
            step_attribute(self._file[group]),
        )


class _GroupReader(Hdf5Reader):
    """One group of a file that is open anyway."""

    def close(self) -> None:
        """Leave the file open: the other groups are read from it too."""


def _step_groups(listed: Datasets) -> dict[str, Datasets]:
    """Return the datasets of each group that stands for a step, if all weights are in such."""
    groups: dict[str, Datasets] = {}
    parents: set[str] = set()
    for name, dataset in listed.items():
        parts = name.split("/")
        for depth, part in enumerate(parts[:-1]):
            parent = "/".join(parts[:depth])
            bare = part.isdecimal() and parent.rpartition("/")[2].lower() in _STEP_PARENTS
            if bare or _STEP_GROUP.fullmatch(part):
                members = groups.setdefault("/".join(parts[: depth + 1]), {})
                members["/".join(parts[depth + 1 :])] = dataset
                parents.add(parent)
                break
        else:
            if len(dataset.shape) > 1 and name in weights_of(listed):
                return {}
    if len(parents) != 1 or (len(groups) < 2 and parents == {""} and not _named(groups)):
        return {}
    if not _named(groups) and not _are_alike(list(groups.values())):
        return {}
    return groups


def _named(groups: Mapping[str, Datasets]) -> bool:
    return all(_STEP_GROUP.fullmatch(group.rpartition("/")[2]) for group in groups)


def _are_alike(groups: Sequence[Datasets]) -> bool:
    """Whether all hold the same; the last may lack something, which its writer did not come to."""
    *others, last = (_signature(members) for members in groups)
    return len(set(others)) <= 1 and (not others or set(last) <= set(others[0]))


def _signature(members: Datasets) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(dataset.shape)) for name, dataset in members.items())
