"""Whether a file still is what it was: its identity, size and time of change, compared."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import NamedTuple

#: A change that the clock of a file system is sure to tell from one so much later.
CLOCK_GRAIN_NS = 50_000_000


class Stamp(NamedTuple):
    """What the system says of a file at some time: two equal ones, and nothing was written between.

    Two changes within the clock's grain leave one time, so only an ``is_old`` stamp can tell.

    Attributes
    ----------
    device, inode, size, changed_ns
        As in ``os.stat``.
    is_old
        Whether the last change lay further back than the clock's grain.
    """

    device: int
    inode: int
    size: int
    changed_ns: int
    is_old: bool = False

    @property
    def file(self) -> tuple[int, int, int, int]:
        """Everything but the age of the last change."""
        return self[:4]


def stamp_of(file: str | os.PathLike[str] | int) -> Stamp | None:
    """Return the stamp of a path or a descriptor, ``None`` where there is no such file."""
    with suppress(OSError, ValueError):
        before = time.time_ns()
        about = os.stat(file)
        is_old = before - about.st_mtime_ns > CLOCK_GRAIN_NS
        return Stamp(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, is_old)
    return None
