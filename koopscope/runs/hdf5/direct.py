"""Read uncompressed weights from where they lie in the file, without asking HDF5 for each piece.

HDF5 answers one thread at a time and spends longer on finding a piece than on copying it. Chunks
without a filter never move once they are written, so their places are asked for once. Only bytes
are read that HDF5 has said to be a committed row of that dataset: every row's chunk has to be there
exactly once, whole, inside the file and apart from all others, or HDF5 does the reading.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.runs.dtypes import STORED_AS, widen_bfloat16

#: Chunks smaller than this are left to HDF5: finding them costs more than it saves.
LEAST_CHUNK_BYTES = 32 * 2**10


@dataclass(frozen=True)
class Extents:
    """Where each row of a dataset lies.

    Attributes
    ----------
    descriptor
        The file HDF5 itself has open: the same file whatever happens to its name.
    addresses
        int64 [row chunks, column chunks], in bytes.
    deep
        Rows per chunk.
    length, stride
        A stretch of ``length`` weights is cut into chunks of ``stride``; the last may be shorter.
    stored
        dtype in the file.
    """

    descriptor: int
    addresses: npt.NDArray[np.int64]
    deep: int
    length: int
    stride: int
    stored: np.dtype[Any]

    def announce(self, start: int, stop: int) -> None:
        """Tell the operating system that these weights will be read soon, in every row."""
        if not hasattr(os, "posix_fadvise"):
            return
        for _, count, offset, places in self._runs(start, stop):
            for place in places.tolist():
                for layer in range(self.deep):
                    first = place + (layer * self.stride + offset) * self.stored.itemsize
                    size = count * self.stored.itemsize
                    os.posix_fadvise(self.descriptor, first, size, os.POSIX_FADV_WILLNEED)

    def read(self, start: int, stop: int, rows: range, out: npt.NDArray[np.floating[Any]]) -> bool:
        """Fill ``out`` (len(rows), stop - start), or tell that the file is too short for it."""
        widened = np.empty(min(stop - start, self.stride), self.stored)
        for first, count, offset, places in self._runs(start, stop):
            for t, row in zip(rows, out[:, first : first + count], strict=True):
                deep, layer = divmod(t, self.deep)
                place = int(places[deep]) + (layer * self.stride + offset) * self.stored.itemsize
                words: npt.NDArray[Any] = row if row.dtype == self.stored else widened[:count]
                if os.preadv(self.descriptor, [words.data], place) != words.nbytes:
                    return False
                if words is not row:
                    widen_bfloat16(words, row)
        return True

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, int, int, npt.NDArray[np.int64]]]:
        """Yield (weights before it, its weights, its offset in the chunk, the chunks of its rows).

        One for every chunk column that the range [start, stop) touches.
        """
        columns = math.ceil(self.length / self.stride)
        at = start
        while at < stop:
            outer, within = divmod(at, self.length)
            column, offset = divmod(within, self.stride)
            count = min(stop - at, self.stride - offset, self.length - within)
            yield at - start, count, offset, self.addresses[:, outer * columns + column]
            at += count


def extents(
    file: h5py.File | None, dataset: h5py.h5d.DatasetID, rows: int, dtype: str
) -> Extents | None:
    """Return where the first ``rows`` rows of a dataset lie; ``None`` where HDF5 has to read them.

    Parameters
    ----------
    dtype
        What the dataset holds, as in ``TensorInfo``.
    """
    if file is None or not rows or not hasattr(os, "preadv"):
        return None
    stored = STORED_AS[dtype]
    plain = file.driver == "sec2" and file.userblock_size == 0
    if not plain or dataset.get_type() != h5py.h5t.py_create(stored):
        return None
    plan = dataset.get_create_plist()
    shape = tuple(dataset.shape[1:])
    size = math.prod(shape)
    if plan.get_nfilters() or plan.get_external_count():
        return None
    descriptor = int(file.id.get_vfd_handle())
    if plan.get_layout() == h5py.h5d.CONTIGUOUS:
        deep, length, stride = dataset.shape[0], size, size
        offset = dataset.get_offset()
        addresses = np.array([[-1 if offset is None else offset]], np.int64)
    elif plan.get_layout() == h5py.h5d.CHUNKED and hasattr(dataset, "chunk_iter"):
        deep, *chunk = plan.get_chunk()
        cut = _cut_axis(shape, tuple(chunk))
        if cut is None or math.prod(chunk) * stored.itemsize < LEAST_CHUNK_BYTES:
            return None
        length, stride = math.prod(shape[cut:]), math.prod(chunk)
        addresses = _chunk_addresses(dataset, rows, deep, shape[: cut + 1], chunk[cut])
    else:
        return None
    chunk_bytes = deep * stride * stored.itemsize
    if not _apart(addresses, chunk_bytes, os.fstat(descriptor).st_size):
        return None
    return Extents(descriptor, addresses, deep, length, stride, stored)


def _cut_axis(shape: tuple[int, ...], chunk: tuple[int, ...]) -> int | None:
    """Return the axis along which chunks cut the flattened tensor, if they cut it into ranges."""
    for axis in range(len(shape)):
        if chunk[axis + 1 :] == shape[axis + 1 :]:
            return axis if math.prod(chunk[:axis]) == 1 else None
    return None


def _chunk_addresses(
    dataset: h5py.h5d.DatasetID, rows: int, deep: int, outer: tuple[int, ...], part: int
) -> npt.NDArray[np.int64]:
    """Return the address of every chunk, -1 where it is missing, filtered or there twice."""
    columns = (*outer[:-1], math.ceil(outer[-1] / part))
    addresses = np.full((math.ceil(rows / deep), math.prod(columns)), -1, np.int64)
    strides = [math.prod(columns[axis + 1 :]) for axis in range(len(columns))]
    axes = len(columns)

    def note(chunk: Any) -> None:
        row, *corner = chunk.chunk_offset[: axes + 1]
        if row >= rows:
            return
        corner[-1] //= part
        column = sum(a * b for a, b in zip(corner, strides, strict=True))
        known = addresses[row // deep, column]
        sound = known == -1 and not chunk.filter_mask
        addresses[row // deep, column] = chunk.byte_offset if sound else -2

    dataset.chunk_iter(note)
    return addresses


def _apart(addresses: npt.NDArray[np.int64], size: int, end: int) -> bool:
    """Return whether all chunks are known, inside the file, and do not overlap."""
    sorted_ = np.sort(addresses, axis=None)
    inside = sorted_[0] > 0 and sorted_[-1] + size <= end
    return bool(inside and (np.diff(sorted_) >= size).all())
