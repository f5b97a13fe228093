"""One look at a path: what it is, and what its structure says about how to read it.

A file is opened once for its look, whoever asks; what was seen is passed on to whoever opens the
file to read its weights.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py

from koopscope.runs.checkpoints import hdf5_layouts
from koopscope.runs.checkpoints.hdf5_layouts import Readings
from koopscope.runs.checkpoints.keras import is_keras3, is_legacy_keras
from koopscope.runs.hdf5 import safety, structure
from koopscope.runs.native.committed import Committed, committed_in
from koopscope.runs.native.header import FORMAT

Kind = Literal[
    "run file", "Keras 2 file", "Keras 3 file", "HDF5 file", "checkpoint", "folder", "unread"
]

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class Look:
    """What one look at a path told; it can be used in place of the path.

    Attributes
    ----------
    path
        The file or folder.
    kind
        What it is. ``HDF5 file``: neither a run file nor of Keras. ``checkpoint``: of any kind
        that is not HDF5. ``unread``: nothing is known, opening it says why.
    suffix
        The ending of its name, in small letters, if it is one that a kind of file has.
    committed
        Of a run file, the snapshots that were committed when it was looked at.
    readings
        Of an HDF5 file, the ways to read it.
    """

    path: Path
    kind: Kind
    suffix: str = ""
    committed: Committed | None = None
    readings: Readings | None = None
    _stamp: _Stamp | None = field(default=None, repr=False, compare=False)

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_keras(self) -> bool:
        """Whether Keras saved it, as HDF5."""
        return self.kind in ("Keras 2 file", "Keras 3 file")

    @property
    def holds_one_snapshot(self) -> bool:
        """Whether it can be one snapshot of a series rather than a run by itself."""
        if self.kind == "HDF5 file":
            has_snapshot = self.readings is not None and "snapshot" in self.readings.possible
            return bool(self.suffix) and has_snapshot
        return self.kind in ("checkpoint", "folder") or (self.is_keras and bool(self.suffix))

    def is_current(self) -> bool:
        """Return whether the path still is what was looked at."""
        return self.kind != "unread" and self._stamp == _stamp_of(self.path)


def look_at_hdf5(path: Path, suffix: str = "") -> Look:
    """Open an HDF5 file once, and tell what it is.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    stamp = _stamp_of(path)
    with structure.reading(path), safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        root = h5py.h5g.open(file.id, b"/")
        if safety.text_attribute(root, "format") == FORMAT:
            return Look(path, "run file", suffix, committed=committed_in(path, root), _stamp=stamp)
        if is_legacy_keras(root):
            return Look(path, "Keras 2 file", suffix, _stamp=stamp)
        members = hdf5_layouts.all_datasets(path, file)
        if is_keras3(members):
            return Look(path, "Keras 3 file", suffix, _stamp=stamp)
        return Look(path, "HDF5 file", suffix, readings=Readings.of(members), _stamp=stamp)


def look_at_other(path: Path, suffix: str) -> Look:
    """Return the look at a folder, or at a file that its name or first bytes say is no HDF5."""
    kind: Kind = "folder" if path.is_dir() else "checkpoint"
    return Look(path, kind, suffix, _stamp=_stamp_of(path))


def _stamp_of(path: Path) -> _Stamp | None:
    with suppress(OSError, ValueError):
        status = os.stat(path)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None
