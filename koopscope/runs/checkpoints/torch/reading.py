"""Read parts of tensors where they lie: a flattened range of a view, or of pieces of a tensor.

Holds no more than the part that is asked for and one span of the file; does not depend on how the
places were found.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.torch.archive import ZIP_DAMAGE, open_zip
from koopscope.runs.checkpoints.torch.content import Packed, Region
from koopscope.runs.checkpoints.torch.dtypes import WIDTHS, widened, words
from koopscope.runs.checkpoints.torch.tensors import StoredTensor
from koopscope.runs.checkpoints.torch.window import (
    COPY_AGAIN,
    DamagedError,
    FileWindow,
    damage_of,
    window_of,
)
from koopscope.runs.handover import Handover
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.run import FloatArray, TensorInfo

#: Bytes of the file read at once where a view leaves gaps, and how many times what is wanted.
_SPAN = 64 * 2**10
_LARGEST_SPAN = 4 * 2**20
_WASTE = 4


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """Where the elements of a tensor, or of a rectangular piece of one, lie.

    Attributes
    ----------
    path
        The file.
    start
        The byte of the first element: of the file, or of the unpacked member.
    shape, strides
        Of the piece, in elements.
    dtype
        PyTorch's name.
    big_endian
        How its numbers are written.
    packed
        The compressed member that it must be unpacked from.
    is_conjugated, is_negated
        Whether the elements are the conjugates, or the negatives, of what is stored.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    big_endian: bool = False
    packed: Packed | None = None
    is_conjugated: bool = False
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangular part of a tensor, from the element at ``corner`` on."""

    corner: tuple[int, ...]
    place: StoragePlace


def place_of(path: Path, tensor: StoredTensor, region: Region, big_endian: bool) -> StoragePlace:
    """Return where a tensor lies whose storage lies in ``region``.

    Raises
    ------
    DamagedError
        If it reaches beyond its storage.
    """
    if tensor.bytes_needed > region.size:
        raise DamagedError(
            f"a tensor of shape {list(tensor.shape)} reaches beyond its storage "
            f"{tensor.storage.key} of {region.size:,} bytes"
        )
    first = tensor.storage.offset * WIDTHS[tensor.storage.dtype]
    return StoragePlace(
        path,
        region.start + first + tensor.offset * WIDTHS[tensor.dtype],
        tensor.shape,
        tensor.strides,
        tensor.dtype,
        big_endian,
        region.packed,
        tensor.is_conjugated,
        tensor.is_negated,
    )


class Files:
    """Files opened when they are first read, and what had to be unpacked from them."""

    def __init__(self) -> None:
        self._open: dict[Path, FileWindow] = {}
        self._unpacked: dict[tuple[Path, Packed], tuple[Any, FileWindow]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def whole(self, path: Path) -> FileWindow:
        """Return the bytes of a file.

        Raises
        ------
        OSError, DamagedError
            If it cannot be opened, or is no regular file.
        """
        window = self._open.get(path)
        if window is None:
            window = self._open[path] = window_of(path)
        return window

    def window(self, place: StoragePlace) -> FileWindow:
        """Return the bytes that a place counts in.

        Raises
        ------
        OSError, DamagedError
            If they cannot be read.
        """
        window = self.whole(place.path)
        if place.packed is None:
            return window
        known = (place.path, place.packed)
        if known not in self._unpacked:
            self._unpacked[known] = _unpacked(window, place.packed)
        return self._unpacked[known][1]

    def close(self) -> None:
        """Close them all."""
        while self._open:
            os.close(self._open.popitem()[1].descriptor)
        while self._unpacked:
            self._unpacked.popitem()[1][0].close()


@contextmanager
def describing() -> Iterator[Files]:
    """Yield files that stay open for whoever reads what is described, unless that fails."""
    files = Files()
    try:
        yield files
    except BaseException:
        files.close()
        raise


class TorchReader:
    """One snapshot in PyTorch's files.

    Parameters
    ----------
    pieces
        What makes up each tensor.
    files
        Those that are open already; they are closed with the reader.
    """

    def __init__(self, pieces: Mapping[str, Sequence[Piece]], files: Files | None = None) -> None:
        self._pieces = pieces
        self._files = Files() if files is None else files

    @classmethod
    def handed_over(
        cls, pieces: Mapping[str, Sequence[Piece]], files: Files
    ) -> Handover[TorchReader]:
        """Hand over the files that were opened to describe a snapshot to whoever reads it."""
        return Handover(cls(pieces, files), partial(cls, pieces), len(files))

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor.

        Raises
        ------
        KoopscopeError
            If the file cannot be read, or is damaged there.
        """
        pieces = self._pieces[tensor.name]
        path = pieces[0].place.path
        try:
            read_range(self._files, tensor.shape, pieces, start, out[: stop - start])
        except DamagedError as error:
            raise KoopscopeError(
                f"{tensor.name} of {path} cannot be read: {error}", COPY_AGAIN
            ) from None
        except OSError as error:
            raise KoopscopeError(
                f"{tensor.name} of {path} cannot be read: {error.strerror or error}", COPY_AGAIN
            ) from None

    def close(self) -> None:
        """Close the files."""
        self._files.close()


def read_range(
    files: Files,
    shape: tuple[int, ...],
    pieces: Sequence[Piece],
    start: int,
    out: FloatArray,
) -> None:
    """Fill ``out`` with the elements of a flattened tensor from ``start`` on.

    Raises
    ------
    OSError, DamagedError
        If they cannot be read.
    """
    done = 0
    for slab in slabs(shape, start, start + len(out)):
        box = out[done : done + slab.size].reshape(slab.count)
        done += slab.size
        for piece in pieces:
            low = [max(a, b) for a, b in zip(slab.start, piece.corner, strict=True)]
            high = [
                min(a + n, b + m)
                for a, n, b, m in zip(
                    slab.start, slab.count, piece.corner, piece.place.shape, strict=True
                )
            ]
            if any(a >= b for a, b in zip(low, high, strict=True)):
                continue
            inside: tuple[Any, ...] = (
                *(slice(a - c, b - c) for a, b, c in zip(low, high, slab.start, strict=True)),
                ...,  # a view even of a tensor without axes
            )
            origin = tuple(a - c for a, c in zip(low, piece.corner, strict=True))
            values = box[inside]
            _read_box(files.window(piece.place), piece.place, origin, values)
            if piece.place.is_conjugated:
                np.conjugate(values, out=values)
            if piece.place.is_negated:
                np.negative(values, out=values)


def scalar(place: StoragePlace, files: Files) -> int | float | bool | None:
    """Return the one element of a tensor, ``None`` if it has another number of them.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    if any(n != 1 for n in place.shape):
        return None
    with damage_of(place.path):
        kind = words(place.dtype, place.big_endian)
        raw = np.frombuffer(files.window(place).read(place.start, kind.itemsize), kind)
    if place.dtype == "bool" or kind.kind == "i" or place.dtype == "uint8":
        return bool(raw[0]) if place.dtype == "bool" else int(raw[0])
    if place.dtype.startswith(("complex", "q", "u")):
        return None
    number = np.empty(1, np.float64)
    widened(place.dtype, raw, number)
    return float(number[0])


def _read_box(
    window: FileWindow, place: StoragePlace, origin: tuple[int, ...], out: npt.NDArray[Any]
) -> None:
    """Fill ``out`` with the box of its shape at ``origin`` of a place."""
    kind = words(place.dtype, place.big_endian)
    steps = [step * kind.itemsize for step in place.strides]
    first = place.start + sum(a * step for a, step in zip(origin, steps, strict=True))
    span = kind.itemsize + sum((n - 1) * step for n, step in zip(out.shape, steps, strict=True))
    if span == out.size * kind.itemsize and _in_order(out.shape, steps, kind.itemsize):
        _read_straight(window, place.dtype, kind, first, out)
    elif span <= max(_SPAN, min(_LARGEST_SPAN, _WASTE * out.size * kind.itemsize)):
        raw = np.frombuffer(window.read(first, span), np.uint8)
        view = np.ndarray(out.shape, kind, raw, 0, steps)
        widened(place.dtype, view, out)
    else:
        axis = max((a for a in range(out.ndim) if out.shape[a] > 1), key=lambda a: steps[a])
        middle = out.shape[axis] // 2
        head, tail = np.split(out, [middle], axis)
        _read_box(window, place, origin, head)
        later = tuple(a + middle * (i == axis) for i, a in enumerate(origin))
        _read_box(window, place, later, tail)


def _read_straight(
    window: FileWindow, dtype: str, kind: np.dtype[Any], first: int, out: npt.NDArray[Any]
) -> None:
    """Read elements that lie one after the other; into ``out`` itself where nothing is changed."""
    if out.dtype == kind and out.flags.c_contiguous:
        window.fill(first, out.reshape(-1).view(np.uint8).data)
    else:
        raw = np.frombuffer(window.read(first, out.size * kind.itemsize), kind)
        widened(dtype, raw.reshape(out.shape), out)


def _in_order(shape: tuple[int, ...], steps: Sequence[int], width: int) -> bool:
    for count, step in zip(reversed(shape), reversed(steps), strict=True):
        if count > 1:
            if step != width:
                return False
            width *= count
    return True


def _unpacked(window: FileWindow, packed: Packed) -> tuple[Any, FileWindow]:
    """Unpack a member into a file without a name; its size has been checked against its bytes."""
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the reader)
    try:
        with (
            open_zip(window.part(packed.start, packed.size)) as archive,
            archive.open(packed.member) as stream,
        ):
            _copy(stream, unpacked, archive.getinfo(packed.member))
    except ZIP_DAMAGE as error:
        unpacked.close()
        raise DamagedError(f"its member {packed.member} cannot be unpacked ({error})") from None
    unpacked.flush()
    return unpacked, FileWindow(unpacked.fileno(), 0, os.fstat(unpacked.fileno()).st_size)


def _copy(stream: Any, target: Any, entry: zipfile.ZipInfo) -> None:
    left = entry.file_size
    while left and (part := stream.read(min(left, 2**20))):
        target.write(part)
        left -= len(part)
