"""Write rows into a run file in an order that no interruption can turn against older rows.

The HDF5 side of the recorder: it knows datasets and flushes, and nothing of frameworks or warnings.
No byte that a committed snapshot depends on is written again.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import StoredArray
from koopscope.runs.hdf5.journal import (
    JournaledFile,
    finish_change,
    opened_for_writing,
    pending_journal,
    read_at,
)
from koopscope.runs.hdf5.safety import stored_dtype
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.transaction import changed
from koopscope.runs.native.header import FORMAT, GENERATION
from koopscope.runs.native.sketch_layout import GROUP as SKETCH
from koopscope.runs.native.sketch_layout import SketchWriter
from koopscope.runs.native.storable import StorableNames
from koopscope.runs.native.tensor_datasets import create_tensor
from koopscope.runs.native.tensor_plan import TensorPlan

if sys.platform != "win32":
    import fcntl

#: Steps per chunk of ``/step``, and values per chunk of a metric: 8 KiB.
SCALAR_CHUNK = 1024

# The start of a version-2 superblock: signature, version, three bytes of no interest here, the base
# address, the extension's address, and the end of everything that the file refers to.
_SUPERBLOCK = struct.Struct("<8sB3xQ8xQ")


class RunWriter:
    """An open run file to which one snapshot is appended: tensors, metrics, then ``commit``.

    Parameters
    ----------
    file
        Open for writing.
    tensors
        The datasets in ``/weights``, where they are open already.
    """

    def __init__(
        self, file: h5py.File, tensors: Mapping[str, h5py.h5d.DatasetID] | None = None
    ) -> None:
        self._file = file
        root = h5py.h5g.open(file.id, b"/")
        self._steps = h5py.h5d.open(root, b"step")
        self._metrics = dict(_datasets(h5py.h5g.open(root, b"metrics")))
        self._tensors = dict(
            _datasets(h5py.h5g.open(root, b"weights")) if tensors is None else tensors
        )
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
            if name not in self._tensors and not place:
                shape, dtype = stored.words.shape, stored.dtype
                self._tensors[name] = create_tensor(self._file["weights"], name, shape, dtype)
            if name in self._tensors and self._tensors[name].shape[0] >= place:
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
                    chunks=(SCALAR_CHUNK,),
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


class UnfitFileError(KoopscopeError):
    """A file to which no snapshot can be appended, because of what is in it."""


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


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
