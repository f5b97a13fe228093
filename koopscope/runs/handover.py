"""What was opened for a look stays open for whoever reads: so a file is opened once.

Only so many files wait at a time: a thousand looks must not use up what a process may have open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)

#: Files that wait at a time. What is opened beyond them is closed, and opened again to be read.
MOST_FILES = 256

#: The files that each handover keeps open, by its identity.
_waiting: dict[int, int] = {}


class Handover(Generic[_Opened]):
    """Something open, for whoever takes it first; called again, it is opened again.

    Parameters
    ----------
    opened
        What was opened to be looked at. It is closed where too many files wait already.
    again
        Opens it again.
    files
        How many files it keeps open.
    """

    def __init__(self, opened: _Opened, again: Callable[[], _Opened], files: int = 1) -> None:
        self._opened: _Opened | None = opened
        self._again = again
        if sum(list(_waiting.values())) + files > MOST_FILES:
            self.close()
        else:
            _waiting[id(self)] = files

    def __call__(self) -> _Opened:
        """Return it as it was opened, or opened again where somebody has it already."""
        opened = self._taken()
        return self._again() if opened is None else opened

    def close(self) -> None:
        """Close it if nobody has taken it. Calling it twice is fine."""
        opened = self._taken()
        if opened is not None:
            opened.close()

    def _taken(self) -> _Opened | None:
        _waiting.pop(id(self), None)
        opened, self._opened = self._opened, None
        return opened

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()
