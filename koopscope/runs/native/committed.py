"""What is committed in a run file that may be written to meanwhile, and whether it still is."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import h5py

from koopscope.errors import KoopscopeError
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.journal import opened_for_reading, view_on
from koopscope.runs.hdf5.opened import OpenedFile
from koopscope.runs.hdf5.stacked import patiently
from koopscope.runs.interrupts import signals_held
from koopscope.runs.native.header import checked_version, generation_of
from koopscope.runs.native.steps import checked_steps, unusable
from koopscope.runs.stamps import stamp_of


@dataclass(frozen=True)
class Committed:
    """How many snapshots a run file held at some time, and how often some were taken out before."""

    snapshots: int
    generation: int


class Content:
    """Tells whether an open file still holds the snapshots of the generation that was read.

    Looking costs one call of the system as long as the file is not written to, and about a
    millisecond after it was.

    Parameters
    ----------
    opened
        The file, which has to stay open as long.
    generation
        What was read.
    """

    def __init__(self, opened: OpenedFile, generation: int) -> None:
        self._path, self.generation = opened.path, generation
        self._descriptor, self._own = opened.descriptor, False
        self._seen = opened.before if opened.is_unchanged() else None
        if self._descriptor is None:
            with contextlib.suppress(OSError, ValueError):
                self._descriptor, self._own = opened_for_reading(opened.path), True

    def check(self) -> None:
        """Raise KoopscopeError if snapshots were taken out of the file."""
        if self._descriptor is None:
            return
        stamp = stamp_of(self._descriptor)
        if stamp is None or (self._seen is not None and stamp.file == self._seen.file):
            return
        if patiently(self._now) != self.generation:
            raise KoopscopeError(
                f"{self._path} was taken back to an earlier step while it was read",
                "a training resumes in it; run the command again",
            )
        if stamp.is_old:
            self._seen = stamp

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None and self._own:
            os.close(self._descriptor)
        self._descriptor = None

    def _now(self) -> int:
        assert self._descriptor is not None
        # An interrupt in what h5py calls back would be lost, or become an error of its own.
        with signals_held(), safety.hdf5_failures(self._path):
            view = view_on(os.dup(self._descriptor))
            with h5py.File(view, "r", rdcc_nbytes=0) as file:
                return generation_of(h5py.h5g.open(file.id, b"/"))


def committed_in(opened: OpenedFile) -> Committed:
    """Return what is committed in a run file that is open.

    Raises
    ------
    KoopscopeError
        If it cannot be read, its version is not known, or its steps are no list.
    """
    with safety.hdf5_failures(opened.path):
        root = opened.root
        checked_version(opened.path, root, [])
        if not root.links.exists(b"step"):
            raise unusable(opened.path, "/step", None, "a list of whole numbers")
        step = safety.member(root, b"step")
        rows = int(checked_steps(opened.path, step).shape[0])
        return Committed(snapshots=rows, generation=generation_of(root))
