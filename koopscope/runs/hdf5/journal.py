"""Change a file all at once or not at all, whenever the process dies.

What is written past the old end of the file goes there directly: nothing refers to it yet. What
would overwrite older bytes is held back until it stands, whole and with a checksum, behind the new
end; only then are the older bytes touched. Whoever finds such a journal at the end of a file can
finish the change; where it is torn, nothing was changed. This module knows bytes and offsets, not
what they mean.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_MAGIC = b"koopjrn1"
_RECORD = struct.Struct("<QQ")  # offset and length of one patch; its bytes follow
_TRAILER = struct.Struct("<8sQQI")  # magic, length of all records, end of the changed file, CRC-32

#: No change of a run file needs more bytes or patches; whatever claims to is no journal.
_LARGEST = 2**28
_MOST_PATCHES = 2**20

_PAGE = 4096

_POSITIONED = hasattr(os, "preadv")  # Windows has none of these calls

# How often this process was forked off: a number is asked for with every write, unlike the system.
_forks = 0

_OPENING = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Journal:
    """A change that was decided but perhaps not finished: patches in order, and the file's end."""

    patches: tuple[tuple[int, bytes], ...]
    end: int


def pending_journal(descriptor: int) -> Journal | None:
    """Return the whole journal at the end of a file, or ``None`` if there is none or it is torn."""
    size = os.fstat(descriptor).st_size
    if size < _TRAILER.size:
        return None
    trailer = read_at(descriptor, _TRAILER.size, size - _TRAILER.size)
    if len(trailer) < _TRAILER.size:
        return None
    magic, length, end, checksum = _TRAILER.unpack(trailer)
    start = size - _TRAILER.size - length
    if magic != _MAGIC or start < end or length > _LARGEST:
        return None
    records = _read_exactly(descriptor, length, start)
    if zlib.crc32(records, zlib.crc32(_RECORD.pack(length, end))) != checksum:
        return None
    patches = tuple(islice(_unpacked(records), _MOST_PATCHES + 1))
    return Journal(patches, end) if len(patches) <= _MOST_PATCHES else None


def finish_change(descriptor: int, journal: Journal) -> None:
    """Write the patches to their places and cut the file at its new end. May be repeated."""
    # The head of the file says where it ends: written first, nobody who looks meanwhile finds an
    # address past that end. The rest keeps its order.
    for offset, patch in sorted(journal.patches, key=lambda patch: patch[0] > 0):
        write_fully(descriptor, patch, offset)
    os.ftruncate(descriptor, journal.end)


class PatchedFile:
    """An open file read as if patches had been applied: the file object that h5py wants.

    What goes wrong is noted in ``failure``, since HDF5 tells only that something did.
    """

    def __init__(
        self, descriptor: int, end: int, patches: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self._descriptor = descriptor
        self._end = end
        self._position = 0
        self.failure: BaseException | None = None
        self.patches: list[tuple[int, bytes]] = []
        self._by_page: dict[int, list[tuple[int, bytes]]] = {}
        for offset, patch in patches:
            self._lay_over(offset, patch)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position, or the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, target: memoryview) -> int:
        """Fill ``target`` from the position on, with zeros past the end."""
        wanted = memoryview(target).cast("B")
        start, filled = self._position, 0
        try:
            while filled < len(wanted):
                count = _read_into(self._descriptor, wanted[filled:], start + filled)
                if count == 0:
                    wanted[filled:] = bytes(len(wanted) - filled)
                    break
                filled += count
        except BaseException as error:
            self.failure = error
            raise
        self._position = start + len(wanted)
        if not self._by_page:
            return len(wanted)
        for page in range(start // _PAGE, -(-self._position // _PAGE)):
            low, high = max(start, page * _PAGE), min(self._position, (page + 1) * _PAGE)
            for offset, patch in self._by_page.get(page, ()):
                first, last = max(low, offset), min(high, offset + len(patch))
                if first < last:
                    wanted[first - start : last - start] = patch[first - offset : last - offset]
        return len(wanted)

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes from the position on."""
        target = bytearray(size)
        self.readinto(memoryview(target))
        return bytes(target)

    def flush(self) -> None:
        """Do nothing: there is no buffer of Python's own."""

    def _lay_over(self, offset: int, patch: bytes) -> None:
        self.patches.append((offset, patch))
        for page in range(offset // _PAGE, -(-(offset + len(patch)) // _PAGE)):
            self._by_page.setdefault(page, []).append((offset, patch))


def view_of(path: Path) -> PatchedFile:
    """Return a file for reading, its pending journal applied in the reading if it has one."""
    return view_on(opened_for_reading(path))


def view_on(descriptor: int) -> PatchedFile:
    """Return the same of a file that is open; it is closed when the view goes away."""
    journal = pending_journal(descriptor) or Journal((), os.fstat(descriptor).st_size)
    view = PatchedFile(descriptor, journal.end, journal.patches)
    weakref.finalize(view, os.close, descriptor)
    return view


class JournaledFile(PatchedFile):
    """A file whose older bytes change only in ``commit``; until then the file is as it was.

    Parameters
    ----------
    descriptor
        The file, open for reading and writing.
    end
        Where what must not change ends. Anything behind it is left from an interrupted change.
    """

    def __init__(self, descriptor: int, end: int) -> None:
        os.ftruncate(descriptor, end)
        super().__init__(descriptor, end)
        self._old_end = end
        self._written = end
        self._decided = False
        self._forks = _forks

    def write(self, data: memoryview) -> int:
        """Write at the position: past the old end directly, before it on commit.

        A forked child, in which HDF5 may close what its parent had open, writes nothing.
        """
        try:
            piece = memoryview(data).cast("B")
            offset = self._position
            self._position += len(piece)
            self._end = max(self._end, self._position)
            if self._decided or self._forks != _forks:
                return len(piece)
            if offset >= self._old_end:
                write_fully(self._descriptor, piece, offset)
                self._written = max(self._written, self._position)
            else:
                self._lay_over(offset, bytes(piece))
            return len(piece)
        except BaseException as error:
            self.failure = error
            raise

    def truncate(self, size: int) -> int:
        """Set the end that the file will have after ``commit``."""
        self._end = size
        return size

    def commit(self) -> None:
        """Make the change: once the journal is whole, nothing can take it back.

        Raises
        ------
        OSError
            If it is too large for a journal, or the disk is full: nothing is changed then.
        """
        if self._decided or self._forks != _forks:
            return
        records = b"".join(
            _RECORD.pack(offset, len(patch)) + patch for offset, patch in self.patches
        )
        if len(records) > _LARGEST or len(self.patches) > _MOST_PATCHES:
            raise OSError(f"a change of {len(records)} bytes is too large for a journal")
        checksum = zlib.crc32(records, zlib.crc32(_RECORD.pack(len(records), self._end)))
        trailer = _TRAILER.pack(_MAGIC, len(records), self._end, checksum)
        write_fully(self._descriptor, records + trailer, max(self._end, self._written))
        self._decided = True
        finish_change(self._descriptor, Journal(tuple(self.patches), self._end))

    def abandon(self) -> None:
        """Leave the file as it was: what is written from now on goes nowhere."""
        if not self._decided and self._forks == _forks:
            self._decided = True
            os.ftruncate(self._descriptor, self._old_end)


def opened_for_reading(path: Path) -> int:
    """Return a descriptor of a file, which is not waited for if it is a pipe."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _OPENING)


def opened_for_writing(path: Path, more: int = 0) -> int:
    """Return a descriptor of a file to change, with further flags of ``os.open``."""
    return os.open(path, os.O_RDWR | more | _OPENING, 0o666)


def write_fully(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of the data from an offset on."""
    rest = memoryview(data)
    while rest:
        if _POSITIONED:
            count = os.pwrite(descriptor, rest, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            count = os.write(descriptor, rest)
        rest, offset = rest[count:], offset + count


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Return up to ``size`` bytes from an offset on."""
    if _POSITIONED:
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


def _read_into(descriptor: int, target: memoryview, offset: int) -> int:
    if _POSITIONED:
        return os.preadv(descriptor, [target], offset)
    part = read_at(descriptor, len(target), offset)
    target[: len(part)] = part
    return len(part)


def _read_exactly(descriptor: int, size: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := read_at(descriptor, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


def _unpacked(records: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(records):
        offset, length = _RECORD.unpack_from(records, position)
        position += _RECORD.size
        yield offset, records[position : position + length]
        position += length


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)
