"""HDF5 files whose datasets hold a whole trajectory: one of their axes, the first or last, is time.

Steps and metrics are lists beside the weights. What a writer that died left half written is never
read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.hdf5_tensors import (
    Datasets,
    Hdf5File,
    must_be_written,
    read_numbers,
    read_part,
    tensor_dtype,
)
from koopscope.runs.checkpoints.series import SnapshotRun
from koopscope.runs.dtypes import STORED_AS, unread_weights, values_problem, widen_bfloat16
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.safety import declared_bytes
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.stacked import StackedRun, prepared
from koopscope.runs.hdf5.values import reading_weights
from koopscope.runs.names import (
    Unit,
    conventional,
    counter_of,
    counter_rank,
    is_metric,
    not_a_weight,
)
from koopscope.runs.run import FloatArray, RunDescription, Skipped, TensorInfo, usual_kind


class StackedLayout(StackedRun):
    """A file with time as the first axis of every dataset, or of its only one.

    Parameters
    ----------
    file
        The file; it is closed with the run.
    reading
        What it was taken for.
    """

    def __init__(self, file: Hdf5File, reading: str) -> None:
        super().__init__(file.path)
        path = file.path
        self.paths = [str(path)]
        self.unit: Unit = "step"
        self._file = file.file
        try:
            with safety.hdf5_failures(path):
                members = file.members
                trajectory = _Trajectory(path, members, axis=0)
                self.unit = trajectory.unit
                self.description = trajectory.description(f"HDF5, {reading}")
                for tensor in self.description.tensors:
                    self._tensors[tensor.name] = prepared(
                        members[tensor.name], self.description.snapshots
                    )
        except BaseException:
            self.close()
            raise

    def read_snapshot(
        self, index: int, tensor: TensorInfo, start: int, stop: int, out: FloatArray
    ) -> None:
        """Fill ``out`` (stop - start) from one snapshot of the flattened tensor."""
        with safety.hdf5_failures(self.path, tensor.name):
            dataset = self._unpacked(tensor)
            with reading_weights(self.path, out.size, declared_bytes(dataset)):
                read_part(dataset, (index,), start, stop, out)

    def release(self, index: int) -> None:
        """Keep the file open: all snapshots are in it."""


class TimeLastLayout(SnapshotRun):
    """A file with time as the last axis of every dataset, as MATLAB and PyDMD keep it.

    Parameters
    ----------
    file
        The file; it is closed with the run.
    reading
        What it was taken for.
    """

    def __init__(self, file: Hdf5File, reading: str) -> None:
        path = self.path = file.path
        self.files = (path,)
        self.paths = [str(path)]
        self._members: Datasets = {}
        self._file = file.file
        try:
            with safety.hdf5_failures(path):
                self._members = file.members
                trajectory = _Trajectory(path, self._members, axis=-1)
                self.unit: Unit = trajectory.unit
                self.description = trajectory.description(f"HDF5, {reading}")
        except BaseException:
            self.close()
            raise

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T, stop - start) with those weights of the flattened tensor."""
        self._read(tensor, (start, stop), (0, self.description.snapshots), out)

    def read_snapshot(
        self, index: int, tensor: TensorInfo, start: int, stop: int, out: FloatArray
    ) -> None:
        """Fill ``out`` (stop - start) from one snapshot of the flattened tensor."""
        self._read(tensor, (start, stop), (index, index + 1), out[None])

    def release(self, index: int) -> None:
        """Keep the file open: all snapshots are in it."""

    def close(self) -> None:
        """Close the file."""
        self._members.clear()
        self._file.close()

    def _read(
        self,
        tensor: TensorInfo,
        weights: tuple[int, int],
        times: tuple[int, int],
        out: FloatArray,
    ) -> None:
        offset, rows = 0, times[1] - times[0]
        with (
            safety.hdf5_failures(self.path, tensor.name),
            reading_weights(self.path, out.size, declared_bytes(self._members[tensor.name])),
        ):
            dataset = self._members[tensor.name]
            for slab in slabs(tensor.shape, *weights):
                counts = (*slab.count, rows)
                where = dataset.get_space()
                where.select_hyperslab((*slab.start, times[0]), counts)
                stored = np.empty(counts, STORED_AS[tensor.dtype])
                dataset.read(h5py.h5s.create_simple(counts), where, stored)
                values = widen_bfloat16(stored) if tensor.dtype == "bfloat16" else stored
                out[:, offset : offset + slab.size] = values.reshape(slab.size, rows).T
                offset += slab.size


class _Trajectory:
    """What the datasets of a file are, where one of their axes is time.

    Parameters
    ----------
    path, members
        The file and its datasets.
    axis
        Of time: 0 or -1.

    Raises
    ------
    KoopscopeError
        If the steps do not increase, or no dataset is as long as they are.
    """

    def __init__(self, path: Path, members: Datasets, axis: Literal[0, -1]) -> None:
        self._path, self._members, self._axis = path, members, axis
        self._weights = weights_of(members)
        self._vector = step_vector(members)
        self.unit: Unit = "step"
        self._notes: list[str] = []
        self._steps = self._all_steps()
        self._lengths = {n: _length(d, axis) for n, d in self._weights.items()}
        self._cut_to_whole_snapshots()

    def description(self, form: str) -> RunDescription:
        """Describe the run, after making sure that every weight was written."""
        homes = {_home(name) for name, dataset in self._weights.items() if len(dataset.shape) > 1}
        tensors: list[TensorInfo] = []
        skipped: list[Skipped] = []
        metrics: dict[str, npt.NDArray[np.float64]] = {}
        for name, dataset in self._members.items():
            shape = tuple(dataset.shape)
            if name == self._vector:
                continue
            if self._is_column(name, dataset, homes):
                values = read_numbers(dataset)[: len(self._steps)]
                metrics[conventional(name.removeprefix("metrics/"))] = values
                continue
            rest = shape[1:] if self._axis == 0 else shape[:-1]
            dtype = tensor_dtype(dataset)
            reason = values_problem(dtype, rest) or not_a_weight(name)
            longest = len(self._steps) + 2 * _torn(len(self._steps))
            if not len(self._steps) <= _length(dataset, self._axis) <= longest:
                which = "first" if self._axis == 0 else "last"
                length = [*shape][self._axis :][:1] if shape else []
                reason = f"its {which} axis is {length}, not the {len(self._steps)} snapshots"
            if reason:
                inner = rest if len(shape) > 1 else (0,)  # lists of numbers are no weights
                unread = unread_weights(name, inner, dtype)
                skipped.append(Skipped(name, reason, 0 if not_a_weight(name) else unread))
            else:
                rows = len(self._steps) if self._axis == 0 else None
                must_be_written(self._path, name, dataset, rows)
                tensors.append(TensorInfo(name, rest, dtype, usual_kind(name)))
        if not tensors:
            lengths = sorted({length for length in self._lengths.values() if length})
            which = "first" if self._axis == 0 else "last"
            raise KoopscopeError(
                f"{self._vector} of {self._path} has {len(self._steps)} entries, but the weights' "
                f"{which} axis is {', '.join(map(str, lengths))}",
                "one axis of the weights, the first or the last, must have an entry per step",
            )
        return RunDescription(
            path=str(self._path),
            format=form,
            steps=self._steps,
            tensors=tuple(tensors),
            metrics=metrics,
            skipped=tuple(skipped),
            notes=tuple(self._notes),
        )

    def _is_column(self, name: str, dataset: h5py.h5d.DatasetID, homes: set[str]) -> bool:
        """Return whether a dataset is one number per snapshot, beside the weights."""
        shape = tuple(dataset.shape)
        is_number = isinstance(dataset.get_type(), (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID))
        if not is_number or not _is_vector(shape) or math.prod(shape) < len(self._steps):
            return False
        if math.prod(shape) > len(self._steps) + _torn(len(self._steps)):
            return False
        named = is_metric(_leaf(name)) or counter_of(_leaf(name)) is not None
        if named or name.startswith("metrics/"):
            return True
        return len(shape) == 1 and tensor_dtype(dataset) in STORED_AS and _home(name) not in homes

    def _all_steps(self) -> npt.NDArray[np.int64]:
        if self._vector is None:
            self._notes.append("no `step` dataset: snapshots are numbered from 0")
            return np.arange(_length(next(iter(self._weights.values())), self._axis))
        values = read_numbers(self._members[self._vector])
        steps: npt.NDArray[np.int64] = np.nan_to_num(values).astype(np.int64)
        wrong = np.flatnonzero((values[1:] <= values[:-1]) | (steps[1:] != values[1:]))
        if wrong.size:
            row = int(wrong[0])
            again = values[row + 1] <= values[0]
            raise KoopscopeError(
                f"{self._vector} of {self._path} must be increasing whole numbers: "
                f"{values[row + 1]:g} follows {values[row]:g}"
                + (f", so that training began anew at entry {row + 2}" if again else ""),
                "store each attempt in a file of its own"
                if again
                else "record each step once, in order",
            )
        unit = counter_of(_leaf(self._vector))
        assert unit is not None
        self.unit = unit
        self._notes.append(f"{unit}s come from the dataset {self._vector}")
        return steps

    def _cut_to_whole_snapshots(self) -> None:
        """Drop what a writer that died left half written: some datasets a little longer."""
        count = len(self._steps)
        near = [n for n in self._lengths.values() if abs(n - count) <= _torn(count)]
        complete = min((count, *near))
        if self._axis == 0:  # a row that was made room for and never written
            for name, length in self._lengths.items():
                if length >= complete:
                    complete = _written(self._members[name], complete)
        if complete < count or any(length > count for length in near):
            longest = max((count, *near))
            self._notes.append(
                f"the file breaks off inside a snapshot: {complete} of {longest} are whole and read"
            )
            self._steps = self._steps[:complete]


def weights_of(members: Datasets) -> Datasets:
    """Return the datasets of floats that are neither metrics nor steps nor optimizer state."""
    return {
        name: dataset
        for name, dataset in members.items()
        if not values_problem(tensor_dtype(dataset), (1,))
        and not name.startswith("metrics/")
        and not not_a_weight(name)
        and not (
            _is_vector(tuple(dataset.shape))
            and (is_metric(_leaf(name)) or counter_of(_leaf(name)) is not None)
        )
    }


def step_vector(members: Datasets) -> str | None:
    """Return the name of the dataset that numbers the snapshots, if there is one such."""
    numeric = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)
    named = [name for name in members if counter_of(_leaf(name)) is not None]
    for name in sorted(named, key=lambda name: counter_rank(_leaf(name))):
        shape = tuple(members[name].shape)
        is_list = len(shape) > 0 and _is_vector(shape) and math.prod(shape) > 0
        if is_list and isinstance(members[name].get_type(), numeric):
            return name
    return None


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Return whether a dataset is a list of numbers, as a column or a row where it has two axes."""
    return len(shape) <= 1 or (len(shape) == 2 and 1 in shape)


def _written(dataset: h5py.h5d.DatasetID, rows: int) -> int:
    """Return how many first rows are whole, if only the last few of those asked for are not."""
    for fewer in range(rows, rows - _torn(rows) - 1, -1):
        if not safety.missing_bytes(dataset, fewer):
            return fewer
    return rows


def _length(dataset: h5py.h5d.DatasetID, axis: Literal[0, -1]) -> int:
    shape = tuple(dataset.shape)
    return int(shape[axis]) if shape else 0


def _torn(snapshots: int) -> int:
    """Return by how many snapshots datasets differ where a writer died between them."""
    return 0 if snapshots < 4 else max(1, snapshots // 50)


def _home(name: str) -> str:
    return name.rpartition("/")[0]


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]
