"""An HDF5 file that is open for reading, and what tells that it still is what was opened."""

from __future__ import annotations

from pathlib import Path

import h5py

from koopscope.runs.hdf5 import safety
from koopscope.runs.stamps import Stamp, stamp_of


class OpenedFile:
    """A file that was opened once; closing it is up to whoever holds it.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    path
        As it was named.
    file
        As h5py has it.
    descriptor
        By which HDF5 has it open, for reads that move no position; ``None`` where there is none
        that can be shared. It is closed with the file.
    before
        What the system said of it just before it was opened.

    Raises
    ------
    KoopscopeError
        As ``open_hdf5``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before: Stamp | None = stamp_of(path)
        self.file = safety.open_hdf5(path)
        self.descriptor = safety.descriptor_of(self.file)

    @property
    def root(self) -> h5py.h5g.GroupID:
        """The group in which all others lie."""
        return h5py.h5g.open(self.file.id, b"/")

    def is_unchanged(self) -> bool:
        """Return whether surely nothing was written to it since before it was opened.

        What HDF5 remembers of it, and the end of the file that it fixes at opening, then fit all
        that was read of it so far.
        """
        if self.descriptor is None or self.before is None or not self.before.is_old:
            return False
        now = stamp_of(self.descriptor)
        return now is not None and now.file == self.before.file

    def close(self) -> None:
        """Close the file. Calling it twice is fine."""
        self.file.close()
