"""Parts of a file read by position: never past what is there, and never through a map.

A map of a file that its writer cuts short kills the reader; a read at a position only comes back
short, and that is a sentence.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from koopscope.errors import KoopscopeError

COPY_AGAIN = "the file is damaged or incomplete, or no PyTorch file; save or copy it again"

#: Bytes that may be asked for at once of a window read as a stream: an archive's list of members.
STREAM_LIMIT = 8 * 2**20


class DamagedError(Exception):
    """A file contradicts itself, or goes beyond what is read; says what is wrong, not where."""


@contextmanager
def damage_of(path: Path) -> Iterator[None]:
    """Turn damage found while a file is read into one sentence that names it.

    Raises
    ------
    KoopscopeError
        If the file is damaged or cannot be read.
    """
    try:
        yield
    except DamagedError as error:
        raise KoopscopeError(f"{path} cannot be read: {error}", COPY_AGAIN) from None
    except OSError as error:
        raise KoopscopeError(
            f"{path} cannot be read: {error.strerror or error}", "check the path and its permission"
        ) from None


@dataclass(frozen=True)
class FileWindow:
    """The bytes ``[start, start + size)`` of an open file."""

    descriptor: int
    start: int
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly these bytes.

        Raises
        ------
        DamagedError
            If they are not all there.
        """
        self._must_hold(offset, size)
        part = os.pread(self.descriptor, size, self.start + offset)
        if len(part) == size:
            return part
        content = bytearray(size)
        self.fill(offset, memoryview(content))
        return bytes(content)

    def fill(self, offset: int, out: memoryview) -> None:
        """Read into ``out``, a flat view of bytes.

        Raises
        ------
        DamagedError
            If there are fewer bytes.
        """
        self._must_hold(offset, len(out))
        done = 0
        while done < len(out):
            count = os.preadv(self.descriptor, [out[done:]], self.start + offset + done)
            if not count:
                raise DamagedError("it became shorter while it was read")
            done += count

    def part(self, offset: int, size: int) -> FileWindow:
        """Return a window of this window.

        Raises
        ------
        DamagedError
            If it reaches beyond.
        """
        self._must_hold(offset, size)
        return FileWindow(self.descriptor, self.start + offset, size)

    def stream(self) -> io.RawIOBase:
        """Return a seekable stream of these bytes, which leaves the file open when it is closed."""
        return _Stream(self)

    def _must_hold(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise DamagedError(
                f"it ends at byte {self.size:,}, and {size:,} bytes from {offset:,} are wanted"
            )


@contextmanager
def opened(path: Path) -> Iterator[FileWindow]:
    """Open a regular file for reading; anything else, a pipe say, is not waited for.

    Raises
    ------
    OSError
        If it cannot be opened.
    DamagedError
        If it is no regular file.
    """
    window = window_of(path)
    try:
        yield window
    finally:
        os.close(window.descriptor)


def window_of(path: Path) -> FileWindow:
    """Return the bytes of a regular file, whose descriptor whoever asks has to close.

    Raises
    ------
    OSError
        If it cannot be opened.
    DamagedError
        If it is a folder, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise DamagedError("it is no regular file")
    return FileWindow(descriptor, 0, about.st_size)


class _Stream(io.RawIOBase):
    """A window as the standard library's readers of archives want it."""

    def __init__(self, window: FileWindow) -> None:
        self._window = window
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._position, self._window.size)[whence]
        if base + offset < 0:
            raise OSError("a position before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        wanted = max(0, self._window.size - self._position)
        wanted = wanted if size < 0 else min(size, wanted)
        if wanted > STREAM_LIMIT:
            raise DamagedError(f"its list of members takes more than {STREAM_LIMIT:,} bytes")
        part = self._window.read(self._position, wanted)
        self._position += wanted
        return part
