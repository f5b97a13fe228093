"""Change an HDF5 file wholly or not at all, and spare HDF5 a write that fails while it closes.

It may not survive that: a full disk would end the process. Knows how a file is opened and closed,
not what is in it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from koopscope.runs.hdf5.journal import JournaledFile, opened_for_writing, write_fully

# A version-2 superblock carries no "open for writing" mark, so a killed writer leaves no file that
# refuses to open; the 1.10 chunk index only ever grows, so a torn write cannot hide an older chunk.
_SUPERBLOCK_BOUNDS = ("v108", "v108")
_OBJECT_BOUNDS = ("v110", "v110")


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file and let it be filled; a failure leaves it without content.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    descriptor = opened_for_writing(path, os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0))
    try:
        empty = _empty_file()
        write_fully(descriptor, empty, 0)
        with changed(JournaledFile(descriptor, len(empty))) as file:
            yield file
    finally:
        os.close(descriptor)


@contextmanager
def changed(change: JournaledFile) -> Iterator[h5py.File]:
    """Let HDF5 change a file: all of it if nothing fails, and else nothing.

    Raises
    ------
    OSError
        What the system said when the change could not be written.
    """
    file = h5py.File(change, "r+", libver=_OBJECT_BOUNDS, rdcc_nbytes=0)
    try:
        yield file
        file.flush()
        file.close()
        if change.failure is not None:
            raise change.failure
        change.commit()
    except BaseException as error:
        change.abandon()
        # HDF5 turns what its callbacks raise into errors of its own, an interrupt too.
        if change.failure is not None and error is not change.failure:
            raise change.failure from None
        raise
    finally:
        file.close()


def _empty_file() -> bytes:
    content = io.BytesIO()
    h5py.File(content, "w", libver=_SUPERBLOCK_BOUNDS, track_order=True).close()
    return content.getvalue()
