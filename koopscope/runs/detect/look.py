"""One look at a path: what it is, and what its structure says about how to read it.

A file is opened once, for its look, whoever asks; what was seen, and the open file, are passed on
to whoever reads its weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from koopscope.runs.checkpoints.hdf5_layouts import Readings
from koopscope.runs.checkpoints.hdf5_tensors import Hdf5File
from koopscope.runs.checkpoints.keras import is_keras3, is_legacy_keras
from koopscope.runs.handover import Handover
from koopscope.runs.hdf5 import safety, structure
from koopscope.runs.native.committed import Committed, committed_in
from koopscope.runs.native.header import FORMAT
from koopscope.runs.stamps import Stamp, stamp_of

Kind = Literal[
    "run file", "Keras 2 file", "Keras 3 file", "HDF5 file", "checkpoint", "folder", "unread"
]


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
    _stamp: Stamp | None = field(default=None, repr=False, compare=False)
    _file: Handover[Hdf5File] | None = field(default=None, repr=False, compare=False)

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_hdf5(self) -> bool:
        """Whether it was opened as HDF5."""
        return self._file is not None

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
        now = stamp_of(self.path)
        if self.kind == "unread" or now is None or self._stamp is None:
            return False
        return now.file == self._stamp.file

    def opened(self) -> Hdf5File:
        """Return the HDF5 file: as it was opened for the look, or to who asks again, again."""
        assert self._file is not None, f"{self.path} was not looked at as HDF5"
        return self._file()

    def close(self) -> None:
        """Close what nobody has asked for. Calling it twice is fine."""
        if self._file is not None:
            self._file.close()


def look_at_hdf5(path: Path, suffix: str = "") -> Look:
    """Open an HDF5 file, tell what it is, and keep it open for whoever reads it.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    with structure.reading(path):
        file = Hdf5File(path)
        try:
            with safety.hdf5_failures(path):
                look = _told(file, suffix)
        except BaseException:
            file.close()
            raise
    kept = Handover(file, partial(Hdf5File, path))
    return replace(look, _stamp=file.before, _file=kept)


def _told(file: Hdf5File, suffix: str) -> Look:
    root = file.root
    if safety.text_attribute(root, "format") == FORMAT:
        return Look(file.path, "run file", suffix, committed=committed_in(file))
    if is_legacy_keras(root):
        return Look(file.path, "Keras 2 file", suffix)
    if is_keras3(file.members):
        return Look(file.path, "Keras 3 file", suffix)
    return Look(file.path, "HDF5 file", suffix, readings=Readings.of(file.members))


def still(source: Path | Look) -> Path | Look:
    """Return a look that still holds, or else the path."""
    if isinstance(source, Look) and not source.is_current():
        source.close()
        return source.path
    return source


def look_at_other(path: Path, kind: Kind, suffix: str = "") -> Look:
    """Return the look at a folder, or at a file that its name or first bytes say is no HDF5."""
    return Look(path, kind, suffix, _stamp=stamp_of(path))
