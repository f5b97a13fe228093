"""NumPy ``.npz`` archives with one snapshot each.

Members are read straight from where they are stored; compressed ones are unpacked as far as needed.
Objects are never unpickled.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.handover import Handover
from koopscope.runs.names import plain_names
from koopscope.runs.run import FloatArray, TensorInfo

#: An array that must be unpacked as a whole may be so large, or so many times its packed size.
_SMALL = 64 * 2**20
_RATIO_LIMIT = 100

#: NumPy's own limit.
_MOST_AXES = 32

_COPY_AGAIN = "save or copy the file again"

#: What reading a damaged archive, or the header of an array in it, raises.
DAMAGE = (
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    struct.error,
    ValueError,
    EOFError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Member:
    """One array in an archive: where its values begin, and how they are laid out."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def end(self) -> int:
        """Bytes up to the end of the last value."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def npz_snapshot(path: Path) -> Snapshot:
    """Describe a ``.npz`` file.

    Raises
    ------
    KoopscopeError
        If it is damaged.
    """
    contents = Contents(str(path))
    places: dict[str, Member] = {}
    reader = _NpzReader(path, places)
    try:
        members = reader.members()
        shown = plain_names([member.name for member in members])
        for member in members:
            number = partial(reader.number, member) if member.dtype.kind in "iuf" else None
            tensor = contents.add(shown[member.name], member.shape, member.dtype.name, number)
            if tensor is not None:
                places[tensor.name] = member
        return contents.snapshot("npz", Handover(reader, partial(_NpzReader, path, places)))
    except BaseException:
        reader.close()
        raise


class _NpzReader:
    """An open archive; the member read last stays open, since parts are read in order."""

    def __init__(self, path: Path, places: Mapping[str, Member]) -> None:
        self._path = path
        self._places = places
        self._archive = _opened(path)
        self._current: tuple[str, IO[bytes]] | None = None
        self._array: tuple[str, np.ndarray[Any, Any]] | None = None

    def members(self) -> list[Member]:
        """Return every array of the archive, in its order."""
        return _members(self._path, self._archive)

    def number(self, member: Member) -> float:
        """Return the first number of an array."""
        return float(_read(self._path, self._archive, member).reshape(-1)[0])

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor."""
        member = self._places[tensor.name]
        if member.fortran:
            if self._array is None or self._array[0] != member.name:
                whole = _read(self._path, self._archive, member)
                self._array = (member.name, whole.reshape(-1))
            out[...] = self._array[1][start:stop]
            return
        try:
            if self._current is None or self._current[0] != member.name:
                self._leave()
                self._current = (member.name, self._archive.open(f"{member.name}.npy"))
            stream = self._current[1]
            stream.seek(member.offset + start * member.dtype.itemsize)
            raw = stream.read((stop - start) * member.dtype.itemsize)
        except DAMAGE as error:
            raise _unreadable(self._path, tensor.name, error) from None
        if len(raw) < (stop - start) * member.dtype.itemsize:
            raise _unreadable(self._path, tensor.name, EOFError("it ends too early"))
        out[...] = np.frombuffer(raw, member.dtype)

    def _leave(self) -> None:
        if self._current is not None:
            self._current[1].close()
            self._current = None

    def close(self) -> None:
        """Close the file."""
        self._leave()
        self._archive.close()


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        raise KoopscopeError(f"{path} is not a readable .npz file: {error}", _COPY_AGAIN) from None


def members_of(path: Path) -> list[Member]:
    """Return every array of an archive, in its order.

    Raises
    ------
    KoopscopeError
        If it is damaged.
    """
    with _opened(path) as archive:
        return _members(path, archive)


def _members(path: Path, archive: zipfile.ZipFile) -> list[Member]:
    members = []
    for entry in archive.namelist():
        name = entry.removesuffix(".npy")
        if name == entry:
            continue
        stored = archive.getinfo(entry)
        try:
            if stored.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Python unpacks bzip2 and lzma as a whole: a gigabyte out of a kilobyte.
                raise ValueError("it is packed in a way that NumPy does not pack")
            with archive.open(entry) as stream:
                member = described_array(name, stream)
            if member.fortran and stored.file_size > max(
                _SMALL, _RATIO_LIMIT * stored.compress_size
            ):
                raise ValueError(f"it would unpack to {stored.file_size} bytes at once")
            if stored.file_size < member.end:
                raise ValueError("it declares more values than it stores")
            members.append(member)
        except DAMAGE as error:
            raise _unreadable(path, name, error) from None
    return members


def described_array(name: str, stream: IO[bytes]) -> Member:
    """Return how an array in the ``.npy`` format is laid out, counted from here in its stream.

    Raises
    ------
    ValueError, EOFError, SyntaxError
        And the others of ``DAMAGE``, if it cannot be told.
    """
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format is not known")
    shape, fortran, dtype = read(stream)
    if len(shape) > _MOST_AXES or not all(0 <= size < 2**63 for size in shape):
        raise ValueError("it has no valid shape")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not unpickled")
    return Member(name, shape, dtype, fortran and len(shape) > 1, stream.tell())


def read_member(path: Path, member: Member) -> np.ndarray[Any, Any]:
    """Return one array as a whole: a scalar, or one stored column by column.

    Raises
    ------
    KoopscopeError
        If it is damaged.
    """
    with _opened(path) as archive:
        return _read(path, archive, member)


def _read(path: Path, archive: zipfile.ZipFile, member: Member) -> np.ndarray[Any, Any]:
    try:
        with archive.open(f"{member.name}.npy") as stream:
            array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except DAMAGE as error:
        raise _unreadable(path, member.name, error) from None
    return np.ascontiguousarray(array)


def _unreadable(path: Path, name: str, error: Exception) -> KoopscopeError:
    return KoopscopeError(f"{name} of {path} cannot be read: {error}", _COPY_AGAIN)
