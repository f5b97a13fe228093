"""Write rows into a run file in an order that no interruption can turn against older rows.

The HDF5 side of the recorder: it knows datasets and flushes, and nothing of frameworks or warnings.
It must never touch a byte that a committed snapshot depends on.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from koopscope._version import __version__
from koopscope.errors import KoopscopeError
from koopscope.runs.atomic import drafted
from koopscope.runs.dtypes import STORED_AS, StoredArray
from koopscope.runs.hdf5.journal import JournaledFile, finish_change, pending_journal
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.transaction import changed, created
from koopscope.runs.native.header import FORMAT, MAJOR, MINOR

#: Elements of one chunk: a snapshot of a small tensor is one chunk, of a large one several.
CHUNK_ELEMENTS = 262_144

#: Steps per chunk of ``/step``, and values per chunk of a metric: 8 KiB.
_SCALAR_CHUNK = 1024

# The start of a version-2 superblock: signature, version, three bytes of no interest here, the base
# address, the extension's address, and the end of everything that the file refers to.
_SUPERBLOCK = struct.Struct("<8sB3xQ8xQ")


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is recorded: decided by the first snapshot, then fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = "parameter"

    @classmethod
    def of(cls, name: str, stored: StoredArray, kinds: Mapping[str, Sequence[str]]) -> TensorPlan:
        """Plan a tensor from its first value; ``kinds`` has globs of names for each kind."""
        matching = (
            kind for kind, globs in kinds.items() if any(fnmatchcase(name, glob) for glob in globs)
        )
        return cls(name, stored.words.shape, stored.dtype, next(matching, "parameter"))


class RunWriter:
    """An open run file to which one snapshot is appended: tensors, metrics, then ``commit``."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        root = h5py.h5g.open(file.id, b"/")
        self._steps = h5py.h5d.open(root, b"step")
        self._metrics = dict(_datasets(h5py.h5g.open(root, b"metrics")))
        self._tensors = dict(_datasets(h5py.h5g.open(root, b"weights")))
        self._row = int(self._steps.shape[0])

    @property
    def last_step(self) -> int | None:
        """The step of the last committed snapshot."""
        return int(self._file["step"][self._row - 1]) if self._row else None

    def known_names(self) -> set[str]:
        """Return the names that the first snapshot had, recorded or not."""
        listed = json.loads(_text(self._file.attrs.get("skipped")) or "[]")
        return {*self._tensors, *(entry["name"] for entry in listed)}

    def tensors(self) -> Iterator[TensorPlan]:
        """Yield the tensors still being recorded: those with a row in every snapshot."""
        for name, dataset in self._tensors.items():
            rows, *shape = dataset.shape
            if rows >= self._row:
                kind = dataset.get_type()
                words = isinstance(kind, h5py.h5t.TypeIntegerID)
                dtype = "bfloat16" if words else f"float{8 * kind.get_size()}"
                yield TensorPlan(name, tuple(shape), dtype)

    def write_tensor(self, name: str, stored: StoredArray) -> None:
        """Write a tensor's row of the coming snapshot."""
        self.write_rows(name, stored.words[np.newaxis])

    def write_rows(self, name: str, words: npt.NDArray[Any]) -> None:
        """Write a tensor's rows [K, *shape] of the K coming snapshots."""
        _write_rows(self._tensors[name], self._row, words)

    def write_part(self, name: str, start: int, stored: StoredArray) -> None:
        """Write the weights from ``start`` on of a flattened tensor's row, given as a vector."""
        dataset = self._tensors[name]
        rows, *shape = dataset.shape
        if rows <= self._row:
            dataset.set_extent((self._row + 1, *shape))
        written = 0
        for slab in slabs(tuple(shape), start, start + stored.words.size):
            part = stored.words[written : written + slab.size]
            counts = (1, *slab.count)
            where = dataset.get_space()
            where.select_hyperslab((self._row, *slab.start), counts)
            dataset.write(h5py.h5s.create_simple(counts), where, part.reshape(counts))
            written += slab.size

    def write_metric(self, name: str, *values: float) -> str:
        """Write a metric of the coming snapshots, or return why its name cannot be stored."""
        if name not in self._metrics:
            problem = name_problem(name, self._metrics)
            if problem:
                return problem
            self._metrics[name] = (
                self._file["metrics"]
                .create_dataset(
                    name,
                    (self._row,),
                    np.float64,
                    maxshape=(None,),
                    chunks=(_SCALAR_CHUNK,),
                    fillvalue=np.nan,
                )
                .id
            )
        _write_rows(self._metrics[name], self._row, np.array(values, np.float64))
        return ""

    def commit(self, *steps: int) -> None:
        """Make the snapshots exist: everything else reaches the file before their steps do."""
        for metric in self._metrics.values():
            metric.set_extent((self._row + len(steps),))
        self._file.flush()
        _write_rows(self._steps, self._row, np.array(steps, np.int64))
        self._row += len(steps)

    def discard_after(self, step: int) -> None:
        """Forget the snapshots after ``step``. Their space in the file is not used again."""
        self._row = int(np.searchsorted(self._file["step"][:], step, side="right"))
        for dataset in (self._steps, *self._metrics.values(), *self._tensors.values()):
            rows, *shape = dataset.shape
            if rows > self._row:
                dataset.set_extent((self._row, *shape))


@contextmanager
def create_run(
    path: Path,
    tensors: Sequence[TensorPlan],
    skipped: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> Iterator[RunWriter]:
    """Create a run file that appears under its name only when its first snapshot is complete."""
    with drafted(path) as draft, created(draft) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = f"{MAJOR}.{MINOR}"
        file.attrs["creator"] = f"koopscope {__version__}"
        file.attrs["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        file.attrs["metadata"] = json.dumps(_jsonable(metadata))
        file.attrs["skipped"] = json.dumps(
            [{"name": name, "reason": reason} for name, reason in skipped.items()]
        )
        file.create_dataset("step", (0,), np.int64, maxshape=(None,), chunks=(_SCALAR_CHUNK,))
        weights = file.create_group("weights", track_order=True)
        file.create_group("metrics", track_order=True)
        for plan in tensors:
            _create_tensor(weights, plan)
        yield RunWriter(file)


@contextmanager
def open_for_appending(path: Path, patience: float) -> Iterator[RunWriter]:
    """Open an existing run file for one change, which happens wholly or not at all.

    Parameters
    ----------
    path
        The run file.
    patience
        Seconds to wait for a lock that another program holds.
    """
    descriptor = _locked(path, patience)
    try:
        with changed(_begun_change(path, descriptor)) as file:
            if _text(file.attrs.get("format")) != FORMAT:
                raise _not_a_run(path)
            yield RunWriter(file)
    finally:
        os.close(descriptor)


def chunk_shape(shape: tuple[int, ...], elements: int = CHUNK_ELEMENTS) -> tuple[int, ...]:
    """Return the chunk of one snapshot: whole trailing axes, then even parts of what is left."""
    chunk: list[int] = []
    for size in reversed(shape):
        parts = math.ceil(size / max(1, elements))
        chunk.append(math.ceil(size / parts))
        elements //= chunk[-1]
    return tuple(reversed(chunk))


def _create_tensor(weights: h5py.Group, plan: TensorPlan) -> None:
    *groups, name = plan.name.split("/")
    for part in groups:
        weights = weights[part] if part in weights else weights.create_group(part, track_order=True)
    dataset = weights.create_dataset(
        name,
        (0, *plan.shape),
        STORED_AS[plan.dtype],
        maxshape=(None, *plan.shape),
        chunks=(1, *chunk_shape(plan.shape)),
    )
    if plan.kind != "parameter":
        dataset.attrs["kind"] = plan.kind
    if plan.dtype == "bfloat16":
        dataset.attrs["dtype"] = "bfloat16"


def name_problem(name: str, taken: Iterable[str]) -> str:
    """Return why HDF5 cannot store something under this name next to others, or nothing."""
    if any(part in ("", ".") for part in name.split("/")) or not name.isprintable():
        return f"not storable in HDF5 under the name {name!r}"
    for other in taken:
        if other.startswith(f"{name}/") or name.startswith(f"{other}/"):
            return f"not storable in HDF5 next to {other}"
    return ""


def _datasets(
    group: h5py.h5g.GroupID, prefix: str = ""
) -> Iterator[tuple[str, h5py.h5d.DatasetID]]:
    for raw in group:
        name, member = prefix + raw.decode(), h5py.h5o.open(group, raw)
        if isinstance(member, h5py.h5g.GroupID):
            yield from _datasets(member, f"{name}/")
        else:
            yield name, member


def _write_rows(dataset: h5py.h5d.DatasetID, row: int, values: npt.NDArray[Any]) -> None:
    dataset.set_extent((row + len(values), *values.shape[1:]))
    place = dataset.get_space()
    place.select_hyperslab((row, *(0 for _ in values.shape[1:])), values.shape)
    dataset.write(h5py.h5s.create_simple(values.shape), place, values)


def _locked(path: Path, patience: float) -> int:
    """Open a file and take the lock that HDF5 itself would take, where the system has locks."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    deadline = time.monotonic() + patience
    wait = 0.005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() + wait > deadline:
                os.close(descriptor)
                raise
            time.sleep(wait)
            wait = min(2 * wait, 0.2)
        except OSError:
            return descriptor
        else:
            return descriptor


def _begun_change(path: Path, descriptor: int) -> JournaledFile:
    journal = pending_journal(descriptor)
    if journal is not None:
        finish_change(descriptor, journal)
    superblock = os.pread(descriptor, _SUPERBLOCK.size, 0)
    if len(superblock) < _SUPERBLOCK.size:
        raise _not_a_run(path)
    signature, version, base, end = _SUPERBLOCK.unpack(superblock)
    if signature != b"\x89HDF\r\n\x1a\n" or version != 2 or base != 0:
        raise _not_a_run(path)
    return JournaledFile(descriptor, end)


def _not_a_run(path: Path) -> KoopscopeError:
    return KoopscopeError(
        f"{path} exists and is not a run file that Recorder wrote", "record to another path"
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
