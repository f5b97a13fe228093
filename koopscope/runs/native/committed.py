"""What is committed in a run file that may be written to meanwhile, and whether it still is."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import h5py

from koopscope.errors import KoopscopeError
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.journal import view_on
from koopscope.runs.hdf5.stacked import patiently
from koopscope.runs.interrupts import signals_held
from koopscope.runs.native.header import checked_version, generation_of
from koopscope.runs.native.steps import checked_steps, unusable

#: A change that the clock of a file system is sure to tell from one so much later.
_CLOCK_GRAIN_NS = 50_000_000


@dataclass(frozen=True)
class Committed:
    """How many snapshots a run file held at some time, and how often some were taken out before."""

    snapshots: int
    generation: int


class Content:
    """Tells whether an open file still holds the snapshots of the generation that was read.

    Looking costs one call of the system as long as the file is not written to, and about a
    millisecond after it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._seen: tuple[int, int] | None = None
        self.generation = 0
        with contextlib.suppress(OSError, ValueError):  # whoever opens it next says why
            self._descriptor = os.open(
                path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
            )

    def check(self) -> None:
        """Raise KoopscopeError if snapshots were taken out of the file."""
        if self._descriptor is None:
            return
        status = os.fstat(self._descriptor)
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._seen:
            return
        if patiently(self._now) != self.generation:
            raise KoopscopeError(
                f"{self._path} was taken back to an earlier step while it was read",
                "a training resumes in it; run the command again",
            )
        # Two changes within the clock's grain leave one time: only an older one tells them apart.
        if time.time_ns() - status.st_mtime_ns > _CLOCK_GRAIN_NS:
            self._seen = stamp

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _now(self) -> int:
        assert self._descriptor is not None
        # An interrupt in what h5py calls back would be lost, or become an error of its own.
        with signals_held(), safety.hdf5_failures(self._path):
            view = view_on(os.dup(self._descriptor))
            with h5py.File(view, "r", rdcc_nbytes=0) as file:
                return generation_of(h5py.h5g.open(file.id, b"/"))


def committed_in(path: Path, root: h5py.h5g.GroupID) -> Committed:
    """Return what is committed in a run file that is open.

    Raises
    ------
    KoopscopeError
        If its version is not known, or its steps are no list.
    """
    checked_version(path, root, [])
    if not root.links.exists(b"step"):
        raise unusable(path, "/step", None, "a list of whole numbers")
    step = safety.member(root, b"step")
    rows = int(checked_steps(path, step).shape[0])
    return Committed(snapshots=rows, generation=generation_of(root))


def committed_now(path: Path) -> Committed:
    """Open a run file, and return what is committed in it.

    Raises
    ------
    KoopscopeError
        As ``committed_in``, or if it cannot be read.
    """
    with safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        return committed_in(path, h5py.h5g.open(file.id, b"/"))
