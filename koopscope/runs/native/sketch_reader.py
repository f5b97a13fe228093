"""Read the sketches of a run file: ``/sketch``, since format 1.2.

Files come from outside: what the index says is held against the datasets before anything is
allocated, and no more than a few MiB of sketches are held at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.runs import bounded_json
from koopscope.runs.dtypes import STORED_AS
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.stacked import StackedDataset, StackedRun
from koopscope.runs.native.sketch_layout import METHOD
from koopscope.runs.run import FloatArray, RunDescription, Skipped, TensorInfo
from koopscope.runs.sketches import FACTS, LATER_FACTS, LEAST_NUMBERS, SketchInfo, TensorSketch
from koopscope.runs.sketching.sketcher import numbers_of

#: Bytes of sketches of neighbouring tensors that are read, and kept, at once.
_HELD_BYTES = 32 * 2**20

#: Bytes of the index, and numbers a tensor, at most.
_INDEX_BYTES = 64 * 2**20
_MOST_NUMBERS = 2**20

_KINDS = ("parameter", "buffer", "state")


@dataclass(frozen=True)
class _Entry:
    info: TensorInfo
    numbers: int
    resolution: float
    held: int
    column: int
    row: int


class SketchTable:
    """The sketches in an open run file.

    Parameters
    ----------
    path
        The file, for sentences.
    group
        Its ``/sketch``.
    snapshots
        How many are committed.

    Raises
    ------
    KoopscopeError
        If it is not what a recorder writes.
    """

    def __init__(self, path: Path, group: h5py.h5g.GroupID, snapshots: int) -> None:
        self._path = path
        self.snapshots = snapshots
        found = dict(safety.members(group))
        if safety.text_attribute(group, "method") != METHOD:
            raise self._broken("its method is not known", "install a newer koopscope")
        numbers, seed = _integer(group, "numbers"), _integer(group, "seed")
        if numbers is None or seed is None or not LEAST_NUMBERS <= numbers <= _MOST_NUMBERS:
            raise self._broken("it does not say how many numbers a tensor has")
        self._entries = {each.info.name: each for each in self._listed(self._bytes(found), numbers)}
        width = sum(each.numbers for each in self._entries.values())
        count = len(self._entries)
        self._values = self._dataset(found, "values", (width,), np.float32)
        self._facts = self._dataset(found, "facts", (count, _columns(found)), np.float64)
        resolution = max(each.resolution for each in self._entries.values())
        self.info = SketchInfo(numbers, seed, tuple(self._kept(found).tolist()), resolution)
        self._held: tuple[int, int, Float64, Float64] | None = None
        self.skipped: list[Skipped] = []
        self._leave_out_unfinished()
        self.skipped += [
            Skipped(info.name, f"a part of it alone: {held:,} of {info.size:,} weights", info.size)
            for info, held in self.parts.items()
        ]

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """The tensors that were sketched whole and to the end, in model order."""
        return tuple(e.info for e in self._entries.values() if e.held == e.info.size)

    @property
    def parts(self) -> dict[TensorInfo, int]:
        """How many weights went into the sketch, of tensors of which the file holds a part."""
        return {e.info: e.held for e in self._entries.values() if e.held < e.info.size}

    def volume(self, tensor: TensorInfo) -> int:
        """Return how many bytes the sketches of a tensor have."""
        return 4 * self.snapshots * self._entries[tensor.name].numbers

    def of(self, tensor: TensorInfo) -> TensorSketch:
        """Return the sketches of a tensor."""
        entry = self._entries[tensor.name]
        held = self._held
        if held is None or not held[0] <= entry.row < held[1]:
            held = self._held = self._read_from(entry)
        first, _, values, facts = held
        start = entry.column - self._by_row[first].column
        return TensorSketch(
            values=values[:, start : start + entry.numbers],
            facts=facts[:, entry.row - first],
            whole=entry.numbers == entry.info.size * (2 if entry.info.is_complex else 1),
            resolution=entry.resolution,
        )

    def _read_from(self, entry: _Entry) -> tuple[int, int, Float64, Float64]:
        """Read a tensor and those behind it, as many as may be held."""
        most = max(1, _HELD_BYTES // (8 * max(1, self.snapshots)))
        stop = entry.row + 1
        width = entry.numbers
        while stop in self._by_row and width + self._by_row[stop].numbers <= most:
            width += self._by_row[stop].numbers
            stop += 1
        changes = np.empty((self.snapshots, width), np.float32)
        facts = np.full((self.snapshots, stop - entry.row, len(FACTS)), np.nan)
        recorded = np.empty((*facts.shape[:2], self._facts.shape[2]))
        with safety.hdf5_failures(self._path, "sketch"):
            _read(self._values, (entry.column,), changes)
            _read(self._facts, (entry.row, 0), recorded)
        facts[:, :, : recorded.shape[2]] = recorded
        if not np.isfinite(changes).all():
            raise self._broken("its values are not finite")
        return entry.row, stop, np.cumsum(changes, axis=0, dtype=np.float64), facts

    def _leave_out_unfinished(self) -> None:
        """Leave out tensors that some snapshot lacks."""
        self._by_row = {entry.row: entry for entry in self._entries.values()}
        if not self.snapshots:
            return
        column = FACTS.index("nonfinite")
        counts = np.empty((self.snapshots, len(self._by_row), 1))
        with safety.hdf5_failures(self._path, "sketch"):
            _read(self._facts, (0, column), counts)
        for entry in list(self._entries.values()):
            lacking = int(np.count_nonzero(np.isnan(counts[:, entry.row])))
            if lacking:
                there = self.snapshots - lacking
                why = f"sketched in only {there} of {self.snapshots} snapshots"
                self.skipped.append(Skipped(entry.info.name, why, entry.info.size))
                del self._entries[entry.info.name]

    def _bytes(self, found: Mapping[str, Any]) -> bytes:
        index = found.get("index")
        if not isinstance(index, h5py.h5d.DatasetID) or safety.storage_problem(index):
            raise self._broken("it has no index")
        shape = index.shape
        if len(shape) != 1 or shape[0] > _INDEX_BYTES or index.dtype != np.uint8:
            raise self._broken("its index is no text")
        raw = np.empty(shape, np.uint8)
        index.read(h5py.h5s.ALL, h5py.h5s.ALL, raw)
        return raw.tobytes()

    def _listed(self, raw: bytes, numbers: int) -> list[_Entry]:
        try:
            listed = bounded_json.loaded(raw)
            entries = [_checked(each, numbers) for each in listed]
        except (ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise self._broken(f"its index cannot be used ({error})") from None
        columns = [0, *accumulate(each[1] for each in entries)]
        names = {each[0].name for each in entries}
        if not entries or len(names) < len(entries):
            raise self._broken("its index names no tensors, or one twice")
        return [
            _Entry(*each, column, row)
            for row, (each, column) in enumerate(zip(entries, columns[:-1], strict=True))
        ]

    def _dataset(
        self, found: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> h5py.h5d.DatasetID:
        dataset = found.get(name)
        if not isinstance(dataset, h5py.h5d.DatasetID):
            raise self._broken(f"it has no {name}")
        problem = safety.storage_problem(dataset)
        if problem:
            raise self._broken(f"{name} is refused: {problem}")
        fits = dataset.shape[1:] == shape and dataset.dtype == dtype
        if not fits or dataset.shape[0] < self.snapshots:
            raise self._broken(f"{name} has the shape {list(dataset.shape)}")
        if safety.missing_bytes(dataset, self.snapshots):
            raise self._broken(f"{name} lacks snapshots")
        return dataset

    def _kept(self, found: Mapping[str, Any]) -> npt.NDArray[np.int64]:
        dataset = found.get("kept")
        if not isinstance(dataset, h5py.h5d.DatasetID) or safety.storage_problem(dataset):
            raise self._broken("it does not say which weights are kept")
        shape = dataset.shape
        if len(shape) != 1 or dataset.dtype != np.int64 or shape[0] > 2**24:
            raise self._broken("it does not say which weights are kept")
        rows = np.empty(shape, np.int64)
        if rows.size:
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, rows)
        rows = rows[rows < self.snapshots]
        if (rows < 0).any() or (np.diff(rows) <= 0).any():
            raise self._broken("kept snapshots are out of order")
        return rows

    def _broken(self, why: str, hint: str = "record the run again") -> KoopscopeError:
        return KoopscopeError(f"the sketch in {self._path} cannot be read: {why}", hint)


def _checked(entry: Mapping[str, Any], numbers: int) -> tuple[TensorInfo, int, float, int]:
    name, dtype, kind = entry["name"], entry["dtype"], entry["kind"]
    shape = tuple(entry["shape"])
    if not isinstance(name, str) or not name.isprintable() or len(name) > safety.NAME_LIMIT:
        raise ValueError("a name is no text")
    if dtype not in STORED_AS or kind not in _KINDS:
        raise ValueError(f"{name} is of no known dtype or kind")
    if not all(type(n) is int and 0 < n < 2**48 for n in shape) or math.prod(shape) >= 2**62:
        raise ValueError(f"{name} has no possible shape")
    if entry["numbers"] != numbers_of(shape, dtype, numbers):
        raise ValueError(f"{name} has another number of numbers")
    resolution = float(entry["resolution"])
    if not 0.0 <= resolution <= 1.0:
        raise ValueError(f"{name} has no possible resolution")
    info, held = TensorInfo(name, shape, dtype, kind), entry["held"]
    if type(held) is not int or not 0 <= held <= info.size:
        raise ValueError(f"{name} holds no possible part")
    return info, entry["numbers"], resolution, held


def _columns(found: Mapping[str, Any]) -> int:
    """Return how many facts a file has: those of today, or without the later ones."""
    facts = found.get("facts")
    first = len(FACTS) - len(LATER_FACTS)
    is_older = isinstance(facts, h5py.h5d.DatasetID) and facts.shape[2:] == (first,)
    return first if is_older else len(FACTS)


def _integer(group: h5py.h5g.GroupID, name: str) -> int | None:
    if not h5py.h5a.exists(group, name.encode()):
        return None
    attribute = h5py.h5a.open(group, name.encode())
    if not isinstance(attribute.get_type(), h5py.h5t.TypeIntegerID) or attribute.shape:
        return None
    value = np.zeros((), np.int64)
    attribute.read(value)
    return int(value)


def _read(dataset: h5py.h5d.DatasetID, start: tuple[int, ...], out: npt.NDArray[Any]) -> None:
    """Fill ``out`` from the first rows, from these indices of the other axes on."""
    where = dataset.get_space()
    where.select_hyperslab((0, *start), out.shape)
    dataset.read(h5py.h5s.create_simple(out.shape), where, out)


class KeptRun(StackedRun):
    """The snapshots of a sketched run whose weights are in the file, as a run of weights.

    Parameters
    ----------
    path
        The file.
    description
        Of the kept snapshots.
    file, tensors
        The open file, and where the weights lie in it.
    check
        Raises where snapshots were taken out of the file.
    close
        Called when this is closed.
    """

    def __init__(
        self,
        path: Path,
        description: RunDescription,
        file: h5py.File | None,
        tensors: Mapping[str, StackedDataset],
        check: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        super().__init__(path)
        self.files = ()  # opened anew, the file is the sketched run and not this one
        self._check, self._close = check, close
        self.description = description
        self._tensors = dict(tensors)
        self._file = file

    def read_rows(
        self, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        """Fill ``out`` (len(rows), stop - start) with those weights of some kept snapshots."""
        super().read_rows(tensor, start, stop, rows, out)
        self._check()

    def close(self) -> None:
        """Close the sketched run underneath."""
        self._file = None
        super().close()
        self._close()
