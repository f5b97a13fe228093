"""Gram matrices in a file of their own, checked before they are trusted.

A line of JSON says what they are of, the records follow as ``pack`` made them, and a digest of it
all comes last, keyed by a secret that only this user can read: who can write next to a run, or
sends one, cannot make a cache that is believed. The file appears whole or not at all; whoever reads
it decides whether it is of the run at hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np

from koopscope.engine.gram_words import pack, record_words, words_of
from koopscope.runs.bounded_json import loaded
from koopscope.runs.run import TensorInfo
from koopscope.spectra.gram import SnapshotGram

_MAGIC = b"koopscope-cache\n"
_DIGEST_BYTES = 32
_SECRET_NAME = "cache.key"
_SECRET_BYTES = 32
_HEADER_LIMIT = 64 * 2**20
_PIECE = 2**20


class UnusableCacheError(Exception):
    """A cache that is not used; its text goes on after the cache's name: "is damaged"."""


@dataclass(frozen=True)
class CacheFile:
    """An open cache whose digest was right.

    Attributes
    ----------
    path
        Where it lies.
    identity
        What was given to ``write_cache``.
    file
        Open for reading; the records stay readable when another process replaces the file.
    offsets, words
        Where each tensor's record begins, and how many words it has.
    """

    path: Path
    identity: Mapping[str, Any]
    file: IO[bytes]
    offsets: Mapping[str, int]
    words: Mapping[str, int]

    def holds(self, tensors: Sequence[TensorInfo]) -> bool:
        """Return whether it has the matrices of all of these tensors."""
        return all(tensor.name in self.offsets for tensor in tensors)


def secret_of_user(folder: Path) -> bytes | None:
    """Return this user's secret from a folder of theirs, made on first use.

    ``None`` where there can be none: the folder cannot be written, or the file belongs to another
    user, is a link, can be read by others or holds something else.
    """
    path = folder / _SECRET_NAME
    for _ in range(2):
        with contextlib.suppress(OSError):
            return _read_secret(path)
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_secret(path)
    return None


def _read_secret(path: Path) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        private = stat.S_ISREG(status.st_mode) and not status.st_mode & 0o077
        if not private or status.st_uid != os.geteuid():
            return None
        secret = file.read(_SECRET_BYTES + 1)
    return secret if len(secret) == _SECRET_BYTES else None


def _make_secret(path: Path) -> None:
    """Put a new secret in place, whole, unless another process was first."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
        os.link(draft, path)
    finally:
        os.unlink(draft)


def write_cache(
    path: Path, identity: Mapping[str, Any], grams: Mapping[str, SnapshotGram], secret: bytes
) -> None:
    """Write all matrices, or leave what was there.

    Raises
    ------
    OSError
        If the folder cannot be written or is full.
    """
    words = [words_of(gram) for gram in grams.values()]
    header = {"identity": identity, "tensors": list(grams), "words": words}
    line = _MAGIC + json.dumps(header, separators=(",", ":")).encode() + b"\n"
    digest = hmac.new(secret, line, hashlib.sha256)
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


def read_cache(path: Path, secret: bytes) -> CacheFile | None:
    """Open a cache, or return ``None`` if there is none.

    Raises
    ------
    UnusableCacheError
        If there is one that cannot be used.
    """
    if not path.is_file():
        return None
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")  # noqa: SIM115
    except OSError as error:
        raise UnusableCacheError(f"cannot be read ({error.strerror})") from error
    try:
        return _checked(path, file, secret)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        file.close()
        raise UnusableCacheError("is damaged") from error
    except BaseException:
        file.close()
        raise


def _checked(path: Path, file: IO[bytes], secret: bytes) -> CacheFile:
    status = os.fstat(file.fileno())
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        raise UnusableCacheError("belongs to another user")
    if file.read(len(_MAGIC)) != _MAGIC:
        raise UnusableCacheError("is damaged")
    line = file.readline(_HEADER_LIMIT)
    header = loaded(line)
    names: list[str] = header["tensors"]
    words: list[int] = header["words"]
    least = record_words(len(header["identity"]["steps"]))
    if len(words) != len(names) or any(type(w) is not int or w < least for w in words):
        raise UnusableCacheError("is damaged")
    begin = len(_MAGIC) + len(line)
    ends = [begin, *(begin + 8 * total for total in accumulate(words))]
    end = ends[-1]
    if os.fstat(file.fileno()).st_size != end + _DIGEST_BYTES:
        raise UnusableCacheError("is damaged")
    digest = hmac.new(secret, _MAGIC + line, hashlib.sha256)
    piece = np.empty(_PIECE, np.uint8)
    left = end - begin
    while left:
        count = file.readinto(piece[: min(left, _PIECE)].data)  # type: ignore[attr-defined]
        if not count:
            raise UnusableCacheError("is damaged")
        digest.update(piece[:count].data)
        left -= count
    if not hmac.compare_digest(file.read(), digest.digest()):
        raise UnusableCacheError("is damaged, or was not written by this user")
    return CacheFile(
        path=path,
        identity=header["identity"],
        file=file,
        offsets=dict(zip(names, ends, strict=False)),
        words=dict(zip(names, words, strict=True)),
    )
