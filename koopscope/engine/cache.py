"""Answers after the first are instant: a run's Gram matrices are kept next to it.

They are used only for the very run they are of: the same files with the same size and time of
change, steps, tensors and sampled weights, the same version of koopscope. Where snapshots were
appended, only the products with the new ones are computed, and the old ones are held against two
rows that are computed again. A cache that cannot be used is passed over, with a remark.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from koopscope._version import __version__
from koopscope.engine.cache_file import (
    CacheFile,
    UnusableCacheError,
    read_cache,
    secret_of_user,
    write_cache,
)
from koopscope.engine.extend import extensions
from koopscope.engine.local import LocalPass, Plan
from koopscope.engine.source import GramSource, ProgressListener
from koopscope.engine.store import GramStore
from koopscope.runs.run import Run, TensorInfo

SUFFIX = ".koopscope-cache"

#: Changes whenever other numbers would be computed from the same weights, or sealed otherwise.
_SCHEME = 4

#: Smaller runs are read faster than a cache is worth a file.
LEAST_BYTES = 64 * 2**20

#: A cache that would take a larger part of the run's own size is not written.
LARGEST_PART = 0.25

#: Seconds of a pass from which on it matters whether the cache has the answer.
_WORTH_A_LOOK = 25.0

_SAMPLED_TENSORS = 16
_SAMPLED_WEIGHTS = 16


class Cached:
    """A pass that remembers: a ``GramSource`` around another.

    Parameters
    ----------
    folder
        Of this user: holds the secret that caches are sealed with, and caches of runs whose own
        folder cannot be written.
    source
        Who computes what is not known; this process by default.
    extend
        Whether this process may compute what appended snapshots add; else ``source`` does it all.
    """

    def __init__(
        self, folder: Path, source: GramSource | None = None, *, extend: bool = True
    ) -> None:
        self.folder = folder
        self.source: GramSource = source or LocalPass()
        self.extend = extend
        self._secret: bytes | None = None
        self._remarks: list[str] = []

    def __call__(
        self,
        run: Run,
        tensors: Sequence[TensorInfo],
        on_progress: ProgressListener | None = None,
    ) -> GramStore:
        """Return the Gram matrices, from the cache as far as it goes."""
        volume = run.volume(run.description.tensors)
        if not run.files or volume < LEAST_BYTES or not self._has_secret():
            return self.source(run, tensors, on_progress)
        identity = _identity(run)
        cache = self._useful(run, identity, tensors)
        if cache is not None and cache.identity == identity:
            self._remarks.append(f"the inner products come from {cache.path}")
            if on_progress is not None:
                on_progress(run.volume(tensors))
            return _known(cache, tensors, run.description.snapshots)
        if cache is not None:
            grams = self._extended(cache, run, tensors, on_progress)
        else:
            grams = self.source(run, tensors, on_progress)
        self._remember(run, identity, grams, volume)
        return grams

    @property
    def opens_files(self) -> bool:
        """Whether the other source has other machines open the run's files."""
        return self.source.opens_files

    @property
    def remarks(self) -> tuple[str, ...]:
        """What happened to the cache, in sentences."""
        return (*self._remarks, *self.source.remarks)

    def expected_seconds(self, run: Run, tensors: Sequence[TensorInfo]) -> float:
        """Return about how long the answer takes: no time where the cache has it."""
        seconds = self.source.expected_seconds(run, tensors)
        if seconds < _WORTH_A_LOOK or not run.files or not self._has_secret():
            return seconds
        identity = _identity(run)
        return 0.0 if any(self._has(p, identity, tensors) for p in self._places(run)) else seconds

    def _has(self, place: Path, identity: dict[str, Any], tensors: Sequence[TensorInfo]) -> bool:
        """Return whether a cache holds these tensors of this very run."""
        try:
            cache = self._read(place)
        except UnusableCacheError:
            return False
        if cache is None:
            return False
        with cache.file:
            return cache.identity == identity and cache.holds(tensors)

    def _has_secret(self) -> bool:
        """Find the user's secret, without which no cache is believed and none is written."""
        if self._secret is None:
            self._secret = secret_of_user(self.folder)
            if self._secret is None:
                why = f"{self.folder} holds no secret that is this user's alone"
                self._remarks.append(f"no cache is used: {why}")
        return self._secret is not None

    def _read(self, place: Path) -> CacheFile | None:
        return None if self._secret is None else read_cache(place, self._secret)

    def _places(self, run: Run) -> tuple[Path, Path]:
        first = run.files[0]
        name = hashlib.blake2b(str(first.absolute()).encode(), digest_size=12).hexdigest()
        return first.with_name(first.name + SUFFIX), self.folder / (name + SUFFIX)

    def _useful(
        self, run: Run, identity: dict[str, Any], tensors: Sequence[TensorInfo]
    ) -> CacheFile | None:
        """Open the first cache of this run that holds these tensors, or that can be extended."""
        for place in self._places(run):
            cache = self._usable(place, run, identity)
            if cache is None:
                continue
            if cache.holds(tensors) if cache.identity == identity else self.extend:
                return cache
            cache.file.close()
        return None

    def _usable(self, place: Path, run: Run, identity: dict[str, Any]) -> CacheFile | None:
        """Open a cache of this run or of its beginning; where it is none, remark why."""
        try:
            cache = self._read(place)
        except UnusableCacheError as problem:
            self._remarks.append(f"the cache {place} {problem} and is not used")
            return None
        if cache is None:
            return None
        why = _difference(cache, run, identity)
        if why:
            self._remarks.append(f"the cache {place} is {why} and is not used")
            cache.file.close()
            return None
        return cache

    def _extended(
        self,
        cache: CacheFile,
        run: Run,
        tensors: Sequence[TensorInfo],
        on_progress: ProgressListener | None,
    ) -> GramStore:
        """Add the products with the snapshots that were appended since."""
        known = _known(cache, run.description.tensors, len(cache.identity["steps"]))
        snapshots = run.description.snapshots
        able = [t for t in tensors if t.name in known and known[t.name].finite.all()]
        parts = GramStore(snapshots)
        agree = True
        for tensor, grown in extensions(run, able, known, known.snapshots, on_progress):
            if grown is None:
                agree = False  # read on all the same: progress is told of every byte
            else:
                parts.put(tensor.name, grown)
        if not agree:
            self._remarks.append("the cache is of a run that was written anew and is not used")
            return self.source(run, tensors, None)
        others = self.source(run, [t for t in tensors if t.name not in parts], on_progress)
        store = GramStore(snapshots)
        store.note(Plan.of(snapshots).note)
        for tensor in tensors:
            store.put(tensor.name, (parts if tensor.name in parts else others)[tensor.name])
        self._remarks.append(f"{snapshots - known.snapshots} snapshots were added to the cache")
        return store

    def _remember(self, run: Run, identity: dict[str, Any], grams: GramStore, volume: int) -> None:
        if 4.0 * grams.snapshots**2 * len(grams) > LARGEST_PART * volume:
            return
        if _stamps(run) != identity["files"]:
            return  # the run grew during the pass: what was read has no name yet
        for place in self._places(run):
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                if self._secret is not None:
                    write_cache(place, identity, grams, self._secret)
                return
        self._remarks.append("no cache was written: neither the run's folder nor the user's can be")


def _known(cache: CacheFile, tensors: Sequence[TensorInfo], snapshots: int) -> GramStore:
    store = GramStore(snapshots)
    store.note(Plan.of(snapshots).note)
    for tensor in tensors:
        if tensor.name in cache.offsets:
            name = tensor.name
            store.put_record(name, cache.file, cache.offsets[name], cache.words[name])
    return store


def _identity(run: Run) -> dict[str, Any]:
    """Return what the cached numbers depend on, as plain JSON values."""
    steps = [int(step) for step in run.description.steps]
    return {
        "version": __version__,
        "scheme": _SCHEME,
        "files": _stamps(run),
        "steps": steps,
        "tensors": [[t.name, list(t.shape), t.dtype] for t in run.description.tensors],
        "sample": _sample(run, len(steps)),
    }


def _stamps(run: Run) -> list[list[Any]]:
    stamps = []
    for path in run.files:
        status = path.stat()
        stamps.append([path.name, status.st_size, status.st_mtime_ns])
    return stamps


def _sample(run: Run, rows: int) -> str:
    """Return a digest of a few weights of some tensors in the first ``rows`` snapshots."""
    tensors = run.description.tensors
    digest = hashlib.blake2b(digest_size=16)
    chosen = tensors[:: max(1, len(tensors) // _SAMPLED_TENSORS)]
    for tensor in chosen:
        count = min(_SAMPLED_WEIGHTS, tensor.size)
        start = (tensor.size - count) // 2
        values = np.empty((run.description.snapshots, count), run.read_dtype(tensor))
        run.read(tensor, start, start + count, values)
        digest.update(values[:rows].tobytes())
    return digest.hexdigest()


def _difference(cache: CacheFile, run: Run, identity: dict[str, Any]) -> str:
    """Say why a cache is not of this run, nor of its beginning; nothing if it is."""
    known = cache.identity
    for key in ("version", "scheme"):
        if known.get(key) != identity[key]:
            return f"of another version of koopscope ({known.get('version')})"
    if known == identity:
        return ""
    rows = len(known["steps"])
    grown = 2 <= rows < len(identity["steps"]) and known["steps"] == identity["steps"][:rows]
    same = known["tensors"] == identity["tensors"] and known["sample"] == _sample(run, rows)
    return "" if grown and same else "of another state of the run"
