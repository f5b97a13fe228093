"""Fetch the bytes of a pickle piece by piece."""

from __future__ import annotations

from collections.abc import Callable

from koopscope.runs.checkpoints.torch.window import DamagedError

#: Longer lines are refused.
LONGEST_LINE = 4096


class PickleSource:
    """The bytes of a pickle, fetched piece by piece.

    Parameters
    ----------
    fetch
        Returns up to so many of the next bytes, none at the end.
    position
        Where the first of them lies.
    """

    def __init__(self, fetch: Callable[[int], bytes], position: int = 0) -> None:
        self._fetch = fetch
        self._piece = b""
        self._next = 0
        self.position = position

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes: as many are held at once."""
        stop = self._next + size
        if stop > len(self._piece):
            self._more(size)
            stop = size
        part = self._piece[self._next : stop]
        self._next = stop
        self.position += size
        return part

    def skip(self, size: int) -> None:
        """Pass over bytes, holding few of them."""
        while size:
            size -= len(self.read(min(size, 2**16)))

    def line(self) -> bytes:
        """Return the bytes up to the next newline, without it.

        Raises
        ------
        DamagedError
            If it is longer than any that PyTorch writes, or the file ends before.
        """
        line = bytearray()
        while (byte := self.read(1)) != b"\n":
            line += byte
            if len(line) > LONGEST_LINE:
                raise DamagedError(f"a line of its pickle is longer than {LONGEST_LINE} bytes")
        return bytes(line)

    def _more(self, size: int) -> None:
        rest = self._piece[self._next :]
        while len(rest) < size:
            piece = self._fetch(max(2**16, size - len(rest)))
            if not piece:
                raise DamagedError("its pickle ends too early")
            rest += piece
        self._piece, self._next = rest, 0
