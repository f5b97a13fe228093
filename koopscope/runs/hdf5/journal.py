"""Change a file all at once or not at all, whenever the process dies.

What is written past the old end of the file goes there directly: nothing refers to it yet. What
would overwrite older bytes is held back until it stands, whole and with a checksum, behind the new
end; only then are the older bytes touched. Whoever finds such a journal at the end of a file can
finish the change; where it is torn, nothing was changed. This module knows bytes and offsets, and
must never know what they mean.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"koopjrn1"
_RECORD = struct.Struct("<QQ")  # offset and length of one patch; its bytes follow
_TRAILER = struct.Struct("<8sQQI")  # magic, length of all records, end of the changed file, CRC-32

#: No change of a run file needs more; whatever claims to is no journal.
_LARGEST = 2**30

_PAGE = 4096


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
    trailer = os.pread(descriptor, _TRAILER.size, size - _TRAILER.size)
    if len(trailer) < _TRAILER.size:
        return None
    magic, length, end, checksum = _TRAILER.unpack(trailer)
    start = size - _TRAILER.size - length
    if magic != _MAGIC or start < end or length > _LARGEST:
        return None
    records = _read_exactly(descriptor, length, start)
    if zlib.crc32(records, zlib.crc32(_RECORD.pack(length, end))) != checksum:
        return None
    return Journal(tuple(_unpacked(records)), end)


def finish_change(descriptor: int, journal: Journal) -> None:
    """Write the patches to their places and cut the file at its new end. May be repeated."""
    # The head of the file says where it ends: written first, nobody who looks meanwhile finds an
    # address past that end. The rest keeps its order.
    for offset, patch in sorted(journal.patches, key=lambda patch: patch[0] > 0):
        _write_fully(descriptor, patch, offset)
    os.ftruncate(descriptor, journal.end)


class PatchedFile:
    """An open file read as if patches had been applied: the file object that h5py wants."""

    def __init__(
        self, descriptor: int, end: int, patches: Sequence[tuple[int, bytes]] = ()
    ) -> None:
        self._descriptor = descriptor
        self._end = end
        self._position = 0
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
        while filled < len(wanted):
            count = os.preadv(self._descriptor, [wanted[filled:]], start + filled)
            if count == 0:
                wanted[filled:] = bytes(len(wanted) - filled)
                break
            filled += count
        self._position = start + len(wanted)
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
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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

    def write(self, data: memoryview) -> int:
        """Write at the position: past the old end directly, before it on commit."""
        piece = memoryview(data).cast("B")
        offset = self._position
        self._position += len(piece)
        self._end = max(self._end, self._position)
        if self._decided:
            return len(piece)
        if offset >= self._old_end:
            _write_fully(self._descriptor, piece, offset)
            self._written = max(self._written, self._position)
        else:
            self._lay_over(offset, bytes(piece))
        return len(piece)

    def truncate(self, size: int) -> int:
        """Set the end that the file will have after ``commit``."""
        self._end = size
        return size

    def commit(self) -> None:
        """Make the change: once the journal is whole, nothing can take it back."""
        if self._decided:
            return
        records = b"".join(
            _RECORD.pack(offset, len(patch)) + patch for offset, patch in self.patches
        )
        if len(records) > _LARGEST:
            raise OSError(f"a change of {len(records)} bytes is too large for a journal")
        checksum = zlib.crc32(records, zlib.crc32(_RECORD.pack(len(records), self._end)))
        trailer = _TRAILER.pack(_MAGIC, len(records), self._end, checksum)
        _write_fully(self._descriptor, records + trailer, max(self._end, self._written))
        self._decided = True
        finish_change(self._descriptor, Journal(tuple(self.patches), self._end))

    def abandon(self) -> None:
        """Leave the file as it was: what is written from now on goes nowhere."""
        if not self._decided:
            self._decided = True
            os.ftruncate(self._descriptor, self._old_end)


def _write_fully(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count


def _read_exactly(descriptor: int, size: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while size and (part := os.pread(descriptor, size, offset)):
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
