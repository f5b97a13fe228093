"""Say when weights are being read, so that a parent process can end a reading without an end.

A timer of this process cannot bound the reading of weights as it bounds that of a structure
(``koopscope.runs.hdf5.structure``): the threads that multiply would use it up. So the process that
reads writes down in shared memory that a block is being read and what it may cost, and its parent
looks now and then at the processor time of the thread that reads. Imports nothing that is slow to
load: the parent has no NumPy.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Iterator
from mmap import mmap

#: Seconds of processor time that a block may take, how many more for each number, which may be a
#: chunk of its own, and for each byte that is unpacked. Waiting for a disk takes none.
SECONDS = 10.0
SECONDS_PER_NUMBER = 1e-5
SECONDS_PER_BYTE = 1e-7

#: Room for the name of the file; before it, what ``_State`` holds.
NAME_BYTES = 4096
_STATE = struct.Struct("<Qd")  # blocks begun and ended, so odd while one is read; its seconds


class Board:
    """Memory shared by a process that may be lost and its parent: what it reads at this moment."""

    def __init__(self) -> None:
        self._memory = mmap(-1, _STATE.size + NAME_BYTES)
        self._named = ""

    @property
    def name(self) -> str:
        """The file whose structure or weights were read last, empty before the first."""
        return os.fsdecode(self._memory[_STATE.size :].rstrip(b"\0"))

    def announce(self, path: str) -> None:
        """Write down which file is about to be read."""
        if path != self._named:
            self._named = path
            raw = os.fsencode(path)[:NAME_BYTES]
            self._memory[_STATE.size :] = raw.ljust(NAME_BYTES, b"\0")

    @property
    def state(self) -> tuple[int, float]:
        """Blocks begun and ended, an odd number while one is read; and the seconds it may take."""
        count, seconds = _STATE.unpack_from(self._memory)
        return count, seconds

    def begin(self, seconds: float) -> None:
        """Write down that a block is being read."""
        _STATE.pack_into(self._memory, 0, self.state[0] | 1, seconds)

    def end(self) -> None:
        """Write down that it has been read."""
        count = self.state[0]
        _STATE.pack_into(self._memory, 0, count + (count & 1), 0.0)


#: Of this process, where it has a parent that looks.
_board: Board | None = None


def shown_on(board: Board) -> None:
    """Say that the parent of this process looks at a board."""
    global _board
    _board = board


@contextlib.contextmanager
def reading_weights(
    path: str | os.PathLike[str], numbers: int, unpacked: int = 0
) -> Iterator[None]:
    """Bound the processor time of a block that reads weights, where a parent looks.

    Only the process's first thread is looked at.

    Parameters
    ----------
    path
        The file.
    numbers
        How many numbers are read.
    unpacked
        Bytes of compressed chunks, unpacked, that they may lie in.
    """
    board = _board
    if board is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    board.announce(os.fspath(path))
    board.begin(SECONDS + SECONDS_PER_NUMBER * numbers + SECONDS_PER_BYTE * unpacked)
    try:
        yield
    finally:
        board.end()


class Watch:
    """A parent's look at its child, again and again."""

    def __init__(self, board: Board, child: int) -> None:
        self._board, self._child = board, child
        self._count, self._since = 0, 0.0

    def is_stuck(self) -> bool:
        """Return whether the block that is being read has taken more than it may."""
        count, seconds = self._board.state
        if not count & 1:
            return False
        now = _processor_seconds(self._child)
        if now is None:
            return False
        if count != self._count:
            self._count, self._since = count, now
            return False
        return now - self._since > seconds


def _processor_seconds(process: int) -> float | None:
    """Return what the first thread of a process has used, ``None`` where the system has no such."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{process}/task/{process}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return None
