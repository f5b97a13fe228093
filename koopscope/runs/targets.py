"""Where something may be written: the one check of outputs, whatever is written and by whom.

Files are told apart by device and inode, not by how they are spelt.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from koopscope.errors import KoopscopeError


def check_targets(
    targets: Iterable[str | os.PathLike[str]],
    inputs: Iterable[str | os.PathLike[str]] = (),
    *,
    force: bool = False,
    folders_are_made: bool = False,
) -> None:
    """Find out before the work whether every file can be written.

    Parameters
    ----------
    targets
        The files.
    inputs
        What is read: files, and folders of them. None is ever replaced, forced or not.
    force
        Whether files that exist may be replaced.
    folders_are_made
        Whether a missing folder is made when its file is written.

    Raises
    ------
    KoopscopeError
        If a folder is missing or stands in the way, two outputs would share a file, an output is
        an input, or it exists and may not be replaced.
    """
    files = [Path(target) for target in targets]
    taken: dict[object, Path] = {}
    for file in files:
        identity = _identity(file)
        if identity in taken and not _is_device(file):
            raise KoopscopeError(f"two outputs would go to {file}", "give each its own file")
        taken[identity] = file
        if not folders_are_made and not file.parent.is_dir():
            raise KoopscopeError(f"there is no folder {file.parent}", "create it first")
        if file.is_dir():
            raise KoopscopeError(f"{file} is a folder", "name a file")
    existing = {_identity(file): file for file in files if file.exists()}
    if not existing:
        return
    for read in _files_of(inputs):
        same = existing.get(_identity(read))
        if same is not None and not _is_device(same):
            raise KoopscopeError(f"{same} is an input of this command", "write to another file")
    for file in files:
        if file.is_file() and not force:
            raise KoopscopeError(f"{file} exists and is kept", "pass --force to replace it")


def _identity(file: Path) -> object:
    """Return what tells a file from others: device and inode, or where it would be made."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return os.path.realpath(file)
    return status.st_dev, status.st_ino


def _is_device(file: Path) -> bool:
    """Whether it is a pipe, a terminal or /dev/null, which several may write to."""
    return file.exists() and not file.is_file()


def _files_of(inputs: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    for name in inputs:
        path = Path(name)
        yield path
        if path.is_dir():
            for folder, _, files in os.walk(path):
                yield from (Path(folder, file) for file in files)
