"""Tensors that an HDF5 file stores time first, ``[T, *shape]``: read block by block.

The geometry of reading, whoever wrote the file; only the first T rows are read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import widen_bfloat16
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.direct import Extents, extents
from koopscope.runs.hdf5.slabs import Slab, aligned_ranges, slabs
from koopscope.runs.hdf5.values import reading_weights
from koopscope.runs.run import FloatArray, Run, TensorInfo

#: Bytes of decompressed chunks kept while a tensor is walked through, at most.
CACHE_BYTES = 128 * 2**20

#: Bytes of a block where chunks must be decompressed and do not all fit the cache.
FILTERED_BLOCK_BYTES = 32 * 2**20

_ATTEMPTS = 4
_PAUSE = 0.02

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class StackedDataset:
    """Where a tensor's rows are.

    Attributes
    ----------
    dataset
        The dataset.
    path
        Its place in the file.
    chunk
        The chunk of one snapshot; its shape where there are no chunks.
    packed
        Bytes of the chunks that one snapshot's chunk takes over all snapshots, where they must be
        decompressed; 0 otherwise.
    """

    dataset: h5py.h5d.DatasetID
    path: bytes
    chunk: tuple[int, ...]
    packed: int = 0


class StackedRun(Run):
    """A run whose tensors are datasets with time first.

    Parameters
    ----------
    path
        The file, for error messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = (path,)
        self._tensors: dict[str, StackedDataset] = {}
        self._extents: dict[str, Extents | None] = {}
        self._cached: tuple[str, h5py.h5d.DatasetID] | None = None
        self._unpacking = threading.Lock()
        self._file: h5py.File | None = None

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T, stop - start) with those weights of the flattened tensor."""
        self.read_rows(tensor, start, stop, range(len(out)), out)

    def read_rows(
        self, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        """Fill ``out`` (len(rows), stop - start) with those weights of some snapshots alone."""
        if self._read_directly(tensor, start, stop, rows, out):
            return
        parts = list(slabs(tensor.shape, start, stop))
        unpacked = 2 * self._tensors[tensor.name].packed * len(parts)

        def fill() -> None:
            with (
                safety.hdf5_failures(self.path, tensor.name),
                self._unpacking,
                reading_weights(self.path, out.size, unpacked),
            ):
                dataset = self._unpacked(tensor)
                if len(parts) == 1:
                    read_slab(dataset, parts[0], rows, out)
                    return
                offset = 0
                for part in parts:
                    values = np.empty((out.shape[0], part.size), out.dtype)
                    read_slab(dataset, part, rows, values)
                    out[:, offset : offset + part.size] = values
                    offset += part.size

        if out.size:
            patiently(fill)

    def _read_directly(
        self, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> bool:
        extents = self._extents_of(tensor)
        return extents is not None and extents.read(start, stop, rows, out)

    def announce(self, tensor: TensorInfo, start: int, stop: int) -> None:
        """Let the disk fetch these weights ahead of time."""
        extents = self._extents_of(tensor)
        if extents is not None:
            extents.announce(start, stop)

    def _extents_of(self, tensor: TensorInfo) -> Extents | None:
        stored, snapshots = self._tensors[tensor.name], self.description.snapshots
        if stored.packed:  # its dataset may have been closed for one with a cache
            return None

        def find() -> Extents | None:
            with (
                safety.hdf5_failures(self.path, tensor.name),
                reading_weights(self.path, math.prod(stored.dataset.shape)),
            ):
                return extents(self._file, stored.dataset, snapshots, tensor.dtype)

        if tensor.name not in self._extents:
            self._extents[tensor.name] = patiently(find)
        return self._extents[tensor.name]

    def _unpacked(self, tensor: TensorInfo) -> h5py.h5d.DatasetID:
        """Return a tensor's dataset, with a cache where its chunks fit one: for one at a time."""
        stored = self._tensors[tensor.name]
        if self._file is None or not 0 < stored.packed <= CACHE_BYTES:
            return stored.dataset
        if self._cached is None or self._cached[0] != tensor.name:
            if self._cached is not None:
                self._cached[1].close()
            if stored.dataset.valid:  # HDF5 gives an open dataset no other cache than its first
                stored.dataset.close()
            self._cached = tensor.name, safety.with_cache(self._file, stored.path, stored.packed)
        return self._cached[1]

    def grain(self, tensor: TensorInfo) -> int:
        """Return a chunk's size where chunks are packed; else single weights can be read."""
        stored = self._tensors[tensor.name]
        return max(1, min(math.prod(stored.chunk), tensor.size)) if stored.packed else 1

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield ranges that are single hyperslabs, cut where the file's chunks are."""
        stored = self._tensors[tensor.name]
        if stored.packed > CACHE_BYTES:
            row = max(1, self.description.snapshots) * self.read_dtype(tensor).itemsize
            width = max(width, min(math.prod(stored.chunk), FILTERED_BLOCK_BYTES // row))
        return aligned_ranges(tensor.shape, stored.chunk, width)

    def close(self) -> None:
        """Close the file."""
        self._tensors.clear()
        self._extents.clear()
        if self._file is not None:
            self._file.close()


def prepared(dataset: h5py.h5d.DatasetID, snapshots: int) -> StackedDataset:
    """Return how the first rows of a dataset are best read."""
    plan, path = dataset.get_create_plist(), h5py.h5i.get_name(dataset)
    if plan.get_layout() != h5py.h5d.CHUNKED:
        return StackedDataset(dataset, path, tuple(dataset.shape[1:]))
    deep, *chunk = plan.get_chunk()
    packed = 0
    if plan.get_nfilters():
        rows = deep * math.ceil(max(1, snapshots) / deep)
        packed = rows * math.prod(chunk) * dataset.get_type().get_size()
    return StackedDataset(dataset, path, tuple(chunk), packed)


def read_slab(
    dataset: h5py.h5d.DatasetID, slab: Slab, rows: range, out: npt.NDArray[np.generic]
) -> None:
    """Read some rows of a slab into ``out`` (len(rows), n), which is C-contiguous.

    Memory is described in the file's own rank: HDF5 copies such selections in whole runs, and
    element by element otherwise.
    """
    counts = (out.shape[0], *slab.count)
    where = dataset.get_space()
    apart = (rows.step, *(1 for _ in slab.count))
    where.select_hyperslab((rows.start, *slab.start), counts, apart)
    memory = h5py.h5s.create_simple(counts)
    if out.dtype == np.float32 and safety.stored_dtype(dataset) == "bfloat16":
        words = out.reshape(-1).view(np.uint16)[: out.size].reshape(counts)
        dataset.read(memory, where, words)
        out[...] = widen_bfloat16(words.copy().reshape(out.shape))
    else:
        dataset.read(memory, where, out.reshape(counts))


def patiently(action: Callable[[], _Result]) -> _Result:
    """Try again when HDF5 failed: it may have looked while the recorder was writing."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return action()
        except KoopscopeError as error:
            if not isinstance(error.__cause__, (OSError, RuntimeError, KeyError)):
                raise
        time.sleep(_PAUSE)
    return action()
