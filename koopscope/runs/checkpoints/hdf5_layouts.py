"""HDF5 files with a whole trajectory in a layout of somebody else's: found out, read in place.

A group per step, ``[T, ...]`` datasets, one ``[T, N]`` matrix. Where the contents allow two
readings this module says so; it must never pick one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.hdf5 import step_attribute
from koopscope.runs.checkpoints.hdf5_tensors import (
    Hdf5Reader,
    datasets,
    described,
    must_be_written,
    read_part,
    tensor_dtype,
)
from koopscope.runs.checkpoints.series import CheckpointSeries, conventional
from koopscope.runs.checkpoints.snapshot import Snapshot, Unit
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.slabs import Slab
from koopscope.runs.hdf5.stacked import StackedRun, prepared, read_slab
from koopscope.runs.run import FloatArray, RunDescription, Skipped, TensorInfo

Layout: TypeAlias = Literal["groups", "stacked", "matrix", "snapshot"]
Found: TypeAlias = dict[str, h5py.h5d.DatasetID]

_STEP_GROUP = re.compile(
    r"(global_step|step|iter|iteration|epoch|checkpoint|ckpt|snapshot)s?[-_ =]?(\d{1,18})", re.I
)
_STEP_PARENTS = ("", "steps", "epochs", "snapshots", "checkpoints", "iterations", "trajectory")
_STEP_VECTORS: Mapping[str, Unit] = {
    "step": "step",
    "steps": "step",
    "global_step": "step",
    "iteration": "step",
    "iterations": "step",
    "epoch": "epoch",
    "epochs": "epoch",
}
_METRIC = re.compile(
    r"((train|training|val|valid|validation|test|eval)_)?(loss|acc|accuracy|error)"
    r"|lr|learning_rate",
    re.I,
)
_READINGS: Mapping[Layout, str] = {
    "groups": "a group per step",
    "stacked": "[T, ...] datasets",
    "matrix": "one [T, N] matrix",
    "snapshot": "one snapshot",
}
_HOW_TO_SETTLE = (
    "a whole-number dataset `step` of length T next to the weights says that the first axis is "
    "time; groups named step_1, step_2, ... say that each holds a snapshot; several such files, "
    "or their folder, say that each file does"
)


def all_datasets(path: Path, file: h5py.File) -> Found:
    """Return every dataset of an open file by its path, numbered names in natural order."""
    return dict(datasets(path, h5py.h5g.open(file.id, b"/")))


def possible_layouts(found: Found) -> tuple[Layout, ...]:
    """Return every way to read these datasets: a trajectory, or one snapshot of it."""
    if _step_groups(found):
        return ("groups",)
    weights = _weights(found)
    shapes = [tuple(dataset.shape) for dataset in weights.values()]
    if not shapes:
        return ()
    if len(shapes) == 1 and len(shapes[0]) == 2:
        wide = shapes[0][0] < shapes[0][1]
        return ("matrix",) if wide or _step_vector(found) else ("matrix", "snapshot")
    if _step_vector(found):
        return ("stacked",)
    rows = {shape[0] if shape else 0 for shape in shapes}
    if len(rows) > 1 or min(rows) < 2:
        return ("snapshot",)
    scalars = any(len(shape) == 1 for shape in shapes)
    return ("stacked", "snapshot") if scalars else ("stacked",)


def open_layout(path: Path) -> GroupPerStep | StackedLayout:
    """Open an HDF5 file that holds a trajectory in another layout than a run file's.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or can be read in more than one way, or in none.
    """
    with safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        layouts = possible_layouts(all_datasets(path, file))
    if layouts == ("groups",):
        return GroupPerStep(path)
    if layouts in (("stacked",), ("matrix",)):
        return StackedLayout(path, _READINGS[layouts[0]])
    if len(layouts) > 1:
        readings = " or as ".join(_READINGS[layout] for layout in layouts)
        raise KoopscopeError(f"{path} can be read as {readings}", _HOW_TO_SETTLE)
    raise KoopscopeError(
        f"{path} holds one snapshot of the weights" if layouts else f"{path} holds no weights",
        "name the whole series, or its folder" if layouts else "record runs with Recorder",
    )


class GroupPerStep(CheckpointSeries):
    """A file with one group per snapshot: ``/step_100/<name>``, ``/epoch_3/<layer>/<name>``."""

    def __init__(self, path: Path) -> None:
        self._file = safety.open_hdf5(path)
        try:
            with safety.hdf5_failures(path):
                found = all_datasets(path, self._file)
                groups = _step_groups(found)
                super().__init__(
                    self._snapshot(path, group, members) for group, members in groups.items()
                )
                outside = [n for n in found if not n.startswith(tuple(f"{g}/" for g in groups))]
        except BaseException:
            self._file.close()
            raise
        self.paths = [str(path)]
        outer = tuple(Skipped(name, "outside the groups of the steps") for name in outside)
        self.description = replace(
            self.description,
            path=str(path),
            format=f"HDF5, {_READINGS['groups']}",
            skipped=(*self.description.skipped, *outer),
        )

    def _snapshot(self, path: Path, group: str, members: Found) -> Snapshot:
        tensors: list[TensorInfo] = []
        places: dict[str, str] = {}
        skipped: list[Skipped] = []
        metrics: dict[str, float] = {}
        for name, dataset in members.items():
            place = f"{group}/{name}"
            shape, dtype = tuple(dataset.shape), tensor_dtype(dataset)
            if not shape and _METRIC.fullmatch(name.rpartition("/")[2]):
                metrics[name] = float(self._file[place][()])
                continue
            info = described(name, shape, dtype)
            if isinstance(info, str):
                skipped.append(Skipped(name, info))
                continue
            must_be_written(path, place, dataset)
            tensors.append(info)
            places[name] = place
        step, unit = step_attribute(self._file[group])
        return Snapshot(
            path=f"{path}/{group}",
            kind="HDF5 group",
            tensors=tuple(tensors),
            open=lambda: _GroupReader(self._file, path, places),
            step=step,
            unit=unit,
            metrics=metrics,
            skipped=tuple(skipped),
        )

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()


class _GroupReader(Hdf5Reader):
    """One group of a file that is open anyway."""

    def close(self) -> None:
        """Leave the file open: the other groups are read from it too."""


class StackedLayout(StackedRun):
    """A file with time as the first axis of every dataset, or of its only one."""

    def __init__(self, path: Path, reading: str) -> None:
        super().__init__(path)
        self.paths = [str(path)]
        self.unit: Unit = "step"
        self._file = safety.open_hdf5(path)
        try:
            with safety.hdf5_failures(path):
                root = h5py.h5g.open(self._file.id, b"/")
                self.description = self._describe(root, all_datasets(path, self._file), reading)
        except BaseException:
            self.close()
            raise

    def read_snapshot(
        self, index: int, tensor: TensorInfo, start: int, stop: int, out: FloatArray
    ) -> None:
        """Fill ``out`` (stop - start) from one snapshot of the flattened tensor."""
        with safety.hdf5_failures(self.path, tensor.name):
            read_part(self._unpacked(tensor), (index,), start, stop, out)

    def release(self, index: int) -> None:
        """Keep the file open: all snapshots are in it."""

    def _describe(self, root: h5py.h5g.GroupID, found: Found, reading: str) -> RunDescription:
        weights = _weights(found)
        homes = {_home(name) for name, dataset in weights.items() if len(dataset.shape) > 1}
        vector = _step_vector(found)
        steps, note = self._steps(found, vector, next(iter(weights.values())))
        tensors: list[TensorInfo] = []
        skipped: list[Skipped] = []
        metrics: dict[str, npt.NDArray[np.float64]] = {}
        for name, dataset in found.items():
            if name == vector:
                continue
            shape = tuple(dataset.shape)
            info = described(name, shape[1:], tensor_dtype(dataset))
            if shape[:1] != (len(steps),):
                info = f"its first axis is {list(shape[:1])}, not the {len(steps)} snapshots"
            if isinstance(info, str):
                skipped.append(Skipped(name, info))
            elif len(shape) > 1 or (name in weights and _home(name) in homes):
                must_be_written(self.path, name, dataset)
                self._tensors[name] = prepared(dataset, len(steps))
                tensors.append(info)
            else:
                values = np.empty(len(steps))
                read_slab(dataset, Slab((), ()), values[:, None])
                metrics[conventional(name.removeprefix("metrics/"))] = values
        if not tensors:
            lengths = sorted({dataset.shape[0] for dataset in weights.values() if dataset.shape})
            raise KoopscopeError(
                f"{vector} of {self.path} has {len(steps)} entries, but the weights' first axis is "
                f"{', '.join(map(str, lengths))}",
                "the first axis must be time: transpose a [N, T] matrix",
            )
        return RunDescription(
            path=str(self.path),
            format=f"HDF5, {reading}",
            steps=steps,
            tensors=tuple(tensors),
            metrics=metrics,
            skipped=tuple(skipped),
            notes=(note,),
        )

    def _steps(
        self, found: Found, vector: str | None, weights: h5py.h5d.DatasetID
    ) -> tuple[npt.NDArray[np.int64], str]:
        if vector is None:
            return np.arange(weights.shape[0]), "no `step` dataset: snapshots are numbered from 0"
        values = np.empty(found[vector].shape[0])
        read_slab(found[vector], Slab((), ()), values[:, None])
        steps = values.astype(np.int64)
        wrong = np.flatnonzero((values[1:] <= values[:-1]) | (steps[1:] != values[1:]))
        if wrong.size:
            row = int(wrong[0])
            raise KoopscopeError(
                f"{vector} of {self.path} must be increasing whole numbers: {values[row + 1]:g} "
                f"follows {values[row]:g}",
                "record each step once, in order",
            )
        self.unit = _STEP_VECTORS[_leaf(vector).lower()]
        return steps, f"{self.unit}s come from the dataset {vector}"


def _step_groups(found: Found) -> dict[str, Found]:
    """Return the datasets of each group that stands for a step, if all weights are in such."""
    groups: dict[str, Found] = {}
    parents: set[str] = set()
    for name, dataset in found.items():
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
            if len(dataset.shape) > 1 and name in _weights(found):
                return {}
    if len(parents) != 1 or (len(groups) < 2 and parents == {""} and not _named(groups)):
        return {}
    if not _named(groups) and len({_signature(members) for members in groups.values()}) > 1:
        return {}
    return groups


def _named(groups: Mapping[str, Found]) -> bool:
    return all(_STEP_GROUP.fullmatch(group.rpartition("/")[2]) for group in groups)


def _signature(members: Found) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(dataset.shape)) for name, dataset in members.items())


def _weights(found: Found) -> Found:
    """Return the datasets of floats that are neither metrics nor steps."""
    return {
        name: dataset
        for name, dataset in found.items()
        if not isinstance(described(name, (1,), tensor_dtype(dataset)), str)
        and not name.startswith("metrics/")
        and not (
            len(dataset.shape) <= 1
            and (_METRIC.fullmatch(_leaf(name)) or _leaf(name).lower() in _STEP_VECTORS)
        )
    }


def _step_vector(found: Found) -> str | None:
    """Return the name of the dataset that numbers the snapshots, if there is one such."""
    numeric = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)
    for wanted in _STEP_VECTORS:
        for name, dataset in found.items():
            if _leaf(name).lower() != wanted or not isinstance(dataset.get_type(), numeric):
                continue
            if len(dataset.shape) == 1 and dataset.shape[0] > 0:
                return name
    return None


def _home(name: str) -> str:
    return name.rpartition("/")[0]


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]
