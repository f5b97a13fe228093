"""Hugging Face's cache of downloads: revisions of one model as the snapshots of a run.

``models--ORG--NAME`` holds ``refs/step1000`` (a text, the hash of a commit), ``snapshots/HASH`` (a
folder of links) and ``blobs`` (what they lead to). A revision's name may tell its step; a hash
never does. Nothing outside the cache is read, wherever a link leads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.numbering import natural_key

_REFS, _SNAPSHOTS = "refs", "snapshots"
_PREFIX = "models--"
_HASH = re.compile(r"[0-9a-f]{40,64}")

#: No cache has more revisions of a model.
_MOST = 100_000

_BY_REVISION = "download checkpoints by their revision: hf download NAME --revision step1000"


def revisions_in(source: Path, holds: Callable[[Path], object]) -> list[Path] | None:
    """Return the revisions that a cache names, ``None`` if a folder is no cache.

    Parameters
    ----------
    source
        ``models--ORG--NAME``, ``refs`` or ``snapshots`` in it, or a folder with one such model.
    holds
        Tells whether a folder holds weights.

    Returns
    -------
    Files ``refs/NAME``, and at most one folder ``snapshots/HASH`` where no revision has weights.

    Raises
    ------
    KoopscopeError
        If it is a cache of several models, or one whose snapshots have no names.
    """
    cache = _cache_at(source)
    if cache is None:
        return None
    named = [ref for ref in _refs(cache) if holds(folder_of(ref))]
    if named:
        return sorted(named, key=lambda ref: natural_key(ref.relative_to(cache).as_posix()))
    unnamed = [folder for folder in _folders(cache) if holds(folder)]
    if len(unnamed) == 1:
        return unnamed
    if not unnamed:
        raise KoopscopeError(f"{cache} holds no weights", _BY_REVISION)
    raise KoopscopeError(
        f"{cache} holds {len(unnamed)} snapshots, and no revision tells their steps", _BY_REVISION
    )


def is_revision(path: Path) -> bool:
    """Return whether a path is a revision's file ``refs/NAME`` in a cache."""
    cache = _around(path, _REFS)
    return cache is not None and path.is_file()


def folder_of(ref: Path) -> Path:
    """Return the folder ``snapshots/HASH`` that a revision stands for, whether it exists or not.

    Raises
    ------
    KoopscopeError
        If the file does not hold a hash.
    """
    cache = _around(ref, _REFS)
    try:
        with ref.open("rb") as file:
            text = file.read(80).decode("ascii").strip()
    except (OSError, ValueError):
        text = ""
    if cache is None or not _HASH.fullmatch(text):
        raise KoopscopeError(
            f"{ref} does not hold the hash of a commit", "download the revision again"
        )
    return cache / _SNAPSHOTS / text


def notes_on(ref: Path, holds: Callable[[Path], object]) -> tuple[str, ...]:
    """Say what of the cache around a revision is not read."""
    cache = _around(ref, _REFS)
    if cache is None:
        return ()
    folders = {reference: folder_of(reference) for reference in _refs(cache)}
    empty = [reference.name for reference, folder in folders.items() if not holds(folder)]
    unnamed = set(_folders(cache)) - set(folders.values())
    said = []
    if empty:
        listed = ", ".join(sorted(empty, key=natural_key)[:4])
        said.append(f"{len(empty)} of {len(folders)} revisions have no weights here: {listed}")
    if unnamed:
        said.append(f"{len(unnamed)} snapshots of {cache.name} that no revision names are left out")
    return tuple(said)


def must_stay_inside(folder: Path) -> None:
    """Make sure that the links in a cache's snapshot lead to files of the same cache.

    Raises
    ------
    KoopscopeError
        If one leads elsewhere. A folder that lies in no cache is not looked at.
    """
    cache = _around(folder, _SNAPSHOTS)
    if cache is None:
        return
    home = Path(os.path.realpath(cache))
    for path in folder.iterdir():
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
            raise KoopscopeError(
                f"{path} is a link that leads out of the cache {cache.name}",
                "download the model again; koopscope follows links only inside its cache",
            )


def _cache_at(source: Path) -> Path | None:
    if _is_cache(source):
        return source
    if source.name in (_REFS, _SNAPSHOTS) and _is_cache(source.parent):
        return source.parent
    models = sorted(path for path in source.iterdir() if _is_cache(path))
    if len(models) > 1:
        raise KoopscopeError(
            f"{source} is a cache of {len(models)} models", f"name one of them, such as {models[0]}"
        )
    return models[0] if models else None


def _is_cache(path: Path) -> bool:
    return path.name.startswith(_PREFIX) and (path / _SNAPSHOTS).is_dir()


def _around(path: Path, part: str) -> Path | None:
    """Return the cache in whose ``part`` a path lies."""
    for parent in path.absolute().parents:
        if parent.name == part and parent.parent.name.startswith(_PREFIX):
            depth = len(path.absolute().relative_to(parent.parent).parts)
            return Path(*path.parts[:-depth]) if len(path.parts) > depth else parent.parent
    return None


def _refs(cache: Path) -> Iterator[Path]:
    """Yield the files below ``refs``, but not those of proposed changes, ``refs/pr/7``."""
    count = 0
    for folder, folders, files in os.walk(cache / _REFS):
        folders[:] = sorted(name for name in folders if name != "pr" and not name.startswith("."))
        for name in sorted(files):
            count += 1
            if count > _MOST:
                raise KoopscopeError(f"{cache} has more than {_MOST:,} revisions", _BY_REVISION)
            path = Path(folder, name)
            if not name.startswith(".") and not path.is_symlink():
                yield path


def _folders(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / _SNAPSHOTS).iterdir() if path.is_dir())
