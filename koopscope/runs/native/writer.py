"""Write rows into a run file in an order that no interruption can turn against older rows.

The HDF5 side of the recorder: it knows datasets and flushes, and nothing of frameworks or warnings.
It must never touch a byte that a committed snapshot depends on.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
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
from koopscope.runs.hdf5.journal import (
    JournaledFile,
    finish_change,
    opened_for_writing,
    pending_journal,
    read_at,
)
from koopscope.runs.hdf5.safety import stored_dtype
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.transaction import changed, created
from koopscope.runs.native.header import FORMAT, GENERATION, MAJOR
from koopscope.runs.native.sketch_layout import GROUP as SKETCH
from koopscope.runs.native.sketch_layout import SketchedTensor, SketchWriter, create_sketch
from koopscope.runs.native.storable import StorableNames
from koopscope.runs.run import Skipped
from koopscope.runs.sketches import SketchInfo

if sys.platform != "win32":
    import fcntl

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
        #: Where sketches go; ``None`` in a file of weights.
        self.sketch = SketchWriter(file[SKETCH]) if SKETCH in file else None
        self._metric_names: StorableNames | None = None

    @property
    def snapshots(self) -> int:
        """How many snapshots are committed."""
        return self._row

    def step_of(self, row: int) -> int | None:
        """Return the step of a committed snapshot, ``None`` if there are not so many."""
        if not 0 <= row < self._row:
            return None
        step = np.empty(1, np.int64)
        place = self._steps.get_space()
        place.select_hyperslab((row,), (1,))
        self._steps.read(h5py.h5s.create_simple((1,)), place, step)
        return int(step[0])

    @property
    def last_step(self) -> int | None:
        """The step of the last committed snapshot."""
        return self.step_of(self._row - 1)

    def known_names(self) -> set[str]:
        """Return the names that the first snapshot had, recorded or not."""
        listed = json.loads(_text(self._file.attrs.get("skipped")) or "[]")
        sketched = self.sketch.tensors if self.sketch is not None else ()
        return {
            *self._tensors,
            *(each.name for each in sketched),
            *(entry["name"] for entry in listed),
        }

    def tensors(self) -> Iterator[TensorPlan]:
        """Yield the tensors still being recorded: those with a row in every snapshot."""
        for name, dataset in self._tensors.items():
            rows, *shape = dataset.shape
            if rows >= self._row:
                yield TensorPlan(name, tuple(shape), stored_dtype(dataset))

    def write_rows(self, name: str, words: npt.NDArray[Any]) -> None:
        """Write a tensor's rows [K, *shape] of the K coming snapshots."""
        _write_rows(self._tensors[name], self._row, words)

    def write_kept(self, row: int, tensors: Mapping[str, StoredArray]) -> None:
        """Write the weights of a snapshot whose sketch is written at ``row``."""
        assert self.sketch is not None
        place = self.sketch.keep(row)
        for name, stored in tensors.items():
            if name not in self._tensors:
                plan = TensorPlan.of(name, stored, {})
                self._tensors[name] = _create_tensor(self._file["weights"], plan).id
            _write_rows(self._tensors[name], place, stored.words[None])

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
            if self._metric_names is None:
                self._metric_names = StorableNames(self._metrics)
            problem = self._metric_names.problem(name)
            if problem:
                return problem
            self._metric_names.add(name)
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
        """Forget the snapshots after ``step``. Their space in the file may be used again.

        A reader that has the file open learns of it from the root's ``generation``.
        """
        kept = int(np.searchsorted(self._file["step"][:], step, side="right"))
        if kept < self._row:
            self._file.attrs[GENERATION] = int(self._file.attrs.get(GENERATION, 0)) + 1
        self._row = weights = kept
        if self.sketch is not None:
            self.sketch.discard_from(kept)
            weights = self.sketch.kept_before(kept)
        for dataset, left in (
            *((each, kept) for each in (self._steps, *self._metrics.values())),
            *((each, weights) for each in self._tensors.values()),
        ):
            rows, *shape = dataset.shape
            if rows > left:
                dataset.set_extent((left, *shape))


@contextmanager
def create_run(
    path: Path,
    tensors: Sequence[TensorPlan],
    skipped: Sequence[Skipped],
    metadata: Mapping[str, Any],
    *,
    replace: int | None = None,
    sketch: tuple[SketchInfo, Sequence[SketchedTensor]] | None = None,
) -> Iterator[RunWriter]:
    """Create a run file that appears under its name only when its first snapshot is complete.

    Parameters
    ----------
    path
        Its name.
    tensors
        What is recorded.
    skipped
        Names of what is not, and why.
    metadata
        What to say about the run.
    replace
        The generation of a run that is replaced; ``None`` if none may be.
    sketch
        How snapshots are sketched, and which tensors, where their weights are not recorded.

    Raises
    ------
    FileExistsError
        If something has that name by then, unless it is to be replaced.
    """
    with drafted(path, replace=replace is not None) as draft, created(draft) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = _version(tensors, sketch is not None)
        file.attrs["creator"] = f"koopscope {__version__}"
        file.attrs["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        if replace is not None:
            file.attrs[GENERATION] = replace + 1
        file.attrs["metadata"] = json.dumps(_jsonable(metadata))
        file.attrs["skipped"] = json.dumps(
            [
                {"name": left.name, "reason": left.reason}
                | ({} if left.weights is None else {"weights": left.weights})
                for left in skipped
            ]
        )
        file.create_dataset("step", (0,), np.int64, maxshape=(None,), chunks=(_SCALAR_CHUNK,))
        weights = file.create_group("weights", track_order=True)
        file.create_group("metrics", track_order=True)
        for plan in tensors:
            _create_tensor(weights, plan)
        if sketch is not None:
            create_sketch(file, *sketch)
        yield RunWriter(file)


@contextmanager
def open_for_appending(path: Path, patience: float) -> Iterator[RunWriter]:
    """Open an existing run file for one change, which happens wholly or not at all.

    Parameters
    ----------
    path
        The run file.
    patience
        Seconds to wait for another program that is writing to it.

    Raises
    ------
    UnfitFileError
        If it is not, or not any more, a whole file that a Recorder wrote.
    """
    descriptor = opened_for_writing(path)
    try:
        _await_writers(descriptor, patience)
        with changed(_begun_change(path, descriptor)) as file:
            yield _writer_of(path, file)
    finally:
        os.close(descriptor)


def _version(tensors: Sequence[TensorPlan], is_sketch: bool) -> str:
    """Return the lowest version that has what the file holds.

    Complex tensors came with 1.1, sketches with 1.2.
    """
    has_complex = any(plan.dtype.startswith("complex") for plan in tensors)
    return f"{MAJOR}.{2 if is_sketch else 1 if has_complex else 0}"


class UnfitFileError(KoopscopeError):
    """A file to which no snapshot can be appended, because of what is in it."""


def chunk_shape(shape: tuple[int, ...], elements: int = CHUNK_ELEMENTS) -> tuple[int, ...]:
    """Return the chunk of one snapshot: whole trailing axes, then even parts of what is left."""
    chunk: list[int] = []
    for size in reversed(shape):
        parts = math.ceil(size / max(1, elements))
        chunk.append(math.ceil(size / parts))
        elements //= chunk[-1]
    return tuple(reversed(chunk))


def _create_tensor(weights: h5py.Group, plan: TensorPlan) -> h5py.Dataset:
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
    return dataset


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


def _await_writers(descriptor: int, patience: float) -> None:
    """Wait until no program writes to the file under HDF5's own lock; readers do not matter."""
    if sys.platform == "win32":
        return
    deadline = time.monotonic() + patience
    wait = 0.005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)
            wait = min(2 * wait, 0.2)
        except OSError:
            return  # no locks here
        else:
            return


def appendable(path: Path) -> bool:
    """Return whether a file begins as those do that a Recorder wrote."""
    try:
        with path.open("rb") as file:
            _end_of(path, file.read(_SUPERBLOCK.size))
    except (OSError, KoopscopeError):
        return False
    return True


def _begun_change(path: Path, descriptor: int) -> JournaledFile:
    journal = pending_journal(descriptor)
    if journal is not None:
        finish_change(descriptor, journal)
    end = _end_of(path, read_at(descriptor, _SUPERBLOCK.size, 0))
    size = os.fstat(descriptor).st_size
    if size < end:
        raise UnfitFileError(
            f"{path} was cut to {size:,} of {end:,} bytes", "record to another path"
        )
    return JournaledFile(descriptor, end)


def _end_of(path: Path, superblock: bytes) -> int:
    """Return where HDF5's part of the file ends."""
    if len(superblock) == _SUPERBLOCK.size:
        signature, version, base, end = _SUPERBLOCK.unpack(superblock)
        if signature == b"\x89HDF\r\n\x1a\n" and version == 2 and base == 0:
            return int(end)
    raise _not_a_run(path)


def _writer_of(path: Path, file: h5py.File) -> RunWriter:
    try:
        if _text(file.attrs.get("format")) != FORMAT:
            raise _not_a_run(path)
        return RunWriter(file)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:  # HDF5's words for damage
        raise UnfitFileError(
            f"{path} is damaged: {' '.join(str(error).split())}", "record to another path"
        ) from error


def _not_a_run(path: Path) -> UnfitFileError:
    return UnfitFileError(f"{path} is not a run file that Recorder wrote", "record to another path")


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
