"""Gram matrices in a file of their own, checked before they are trusted.

A line of JSON says what they are of, the records follow as ``pack`` made them, and a digest of it
all comes last. The file appears whole or not at all; whoever reads it decides whether it is of the
run at hand. Must never hand out a record of a file that is not exactly what was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from koopscope.engine.gram_words import pack, record_words
from koopscope.spectra.gram import SnapshotGram

_MAGIC = b"koopscope-cache\n"
_DIGEST_BYTES = 32
_HEADER_LIMIT = 64 * 2**20
_PIECE = 2**20


@dataclass(frozen=True)
class CacheFile:
    """An open cache whose digest was right.

    Attributes
    ----------
    identity
        What was given to ``write_cache``.
    file
        Open for reading; the records stay readable when another process replaces the file.
    offsets
        Where each tensor's record begins.
    """

    identity: Mapping[str, Any]
    file: IO[bytes]
    offsets: Mapping[str, int]


def write_cache(path: Path, identity: Mapping[str, Any], grams: Mapping[str, SnapshotGram]) -> None:
    """Write all matrices, or leave what was there.

    Raises
    ------
    OSError
        If the folder cannot be written or is full.
    """
    header = {"identity": identity, "tensors": list(grams)}
    line = _MAGIC + json.dumps(header, separators=(",", ":")).encode() + b"\n"
    digest = hashlib.blake2b(line, digest_size=_DIGEST_BYTES)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(line)
            for gram in grams.values():
                record = pack(gram).astype("<f8", copy=False).data
                digest.update(record)
                file.write(record)
            file.write(digest.digest())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_cache(path: Path) -> CacheFile | str | None:
    """Open a cache: ``None`` if there is none, the reason if it cannot be used."""
    if not path.is_file():
        return None
    try:
        file = path.open("rb")
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    try:
        found = _checked(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = "is damaged"
    if isinstance(found, str):
        file.close()
    return found


def _checked(file: IO[bytes]) -> CacheFile | str:
    if file.read(len(_MAGIC)) != _MAGIC:
        return "is damaged"
    line = file.readline(_HEADER_LIMIT)
    header = json.loads(line)
    names: list[str] = header["tensors"]
    snapshots = len(header["identity"]["steps"])
    size = 8 * record_words(snapshots)
    begin = len(_MAGIC) + len(line)
    end = begin + size * len(names)
    if os.fstat(file.fileno()).st_size != end + _DIGEST_BYTES:
        return "is damaged"
    digest = hashlib.blake2b(_MAGIC + line, digest_size=_DIGEST_BYTES)
    piece = np.empty(_PIECE, np.uint8)
    left = end - begin
    while left:
        count = file.readinto(piece[: min(left, _PIECE)].data)  # type: ignore[attr-defined]
        if not count:
            return "is damaged"
        digest.update(piece[:count].data)
        left -= count
    if file.read() != digest.digest():
        return "is damaged"
    offsets = {name: begin + size * index for index, name in enumerate(names)}
    return CacheFile(header["identity"], file, offsets)
