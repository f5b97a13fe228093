"""Write rows into a run file in an order that no interruption can turn against older rows.

The HDF5 side of the recorder: it knows datasets and flushes, and nothing of frameworks or warnings.
It must never touch a byte that a committed snapshot depends on.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from koopscope import __version__
from koopscope.errors import KoopscopeError
from koopscope.runs.arrays import STORED_AS, StoredArray
from koopscope.runs.labels import FORMAT, MAJOR, MINOR

#: Elements of one chunk: a snapshot of a small tensor is one chunk, of a large one several.
CHUNK_ELEMENTS = 262_144

#: Steps per chunk of ``/step``, and values per chunk of a metric: 8 KiB.
_SCALAR_CHUNK = 1024

# A version-2 superblock carries no "open for writing" mark, so a killed writer leaves no file that
# refuses to open; the 1.10 chunk index only ever grows, so a torn write cannot hide an older chunk.
_SUPERBLOCK_BOUNDS = ("v108", "v108")
_OBJECT_BOUNDS = ("v110", "v110")


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is recorded: decided by the first snapshot, then fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = "parameter"

    @classmethod
    def of(cls, name: str, stored: StoredArray, buffers: Sequence[str]) -> TensorPlan:
        """Plan a tensor from its first value."""
        buffer = any(fnmatchcase(name, glob) for glob in buffers)
        return cls(name, stored.words.shape, stored.dtype, "buffer" if buffer else "parameter")


class RunWriter:
    """An open run file to which one snapshot is appended: tensors, metrics, then ``commit``."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._row = int(file["step"].shape[0])
        self.tensors = tuple(_planned(file["weights"], self._row))
        self.known_names = frozenset(_dataset_names(file["weights"])) | _skipped_names(file)

    @property
    def last_step(self) -> int | None:
        """The step of the last committed snapshot."""
        return int(self._file["step"][self._row - 1]) if self._row else None

    def write_tensor(self, name: str, stored: StoredArray) -> None:
        """Write a tensor's row of the coming snapshot."""
        dataset = self._file["weights"][name]
        dataset.resize(self._row + 1, axis=0)
        dataset[self._row] = stored.words

    def write_metric(self, name: str, value: float) -> None:
        """Write a metric of the coming snapshot; rows where it was not given are NaN."""
        metrics = self._file["metrics"]
        if name not in metrics:
            metrics.create_dataset(
                name, (0,), np.float64, maxshape=(None,), chunks=(_SCALAR_CHUNK,), fillvalue=np.nan
            )
        dataset = metrics[name]
        dataset.resize(self._row + 1, axis=0)
        dataset[self._row] = value

    def commit(self, step: int) -> None:
        """Make the snapshot exist: everything else reaches the file before its step does."""
        for dataset in self._file["metrics"].values():
            dataset.resize(self._row + 1, axis=0)
        self._file.flush()
        steps = self._file["step"]
        steps.resize(self._row + 1, axis=0)
        steps[self._row] = step
        self._file.flush()
        self._row += 1

    def discard_after(self, step: int) -> None:
        """Forget the snapshots after ``step``: their rows stay behind and are overwritten."""
        steps = self._file["step"]
        self._row = int(np.searchsorted(steps[:], step, side="right"))
        steps.resize(self._row, axis=0)
        self._file.flush()


@contextmanager
def create_run(
    path: Path,
    tensors: Sequence[TensorPlan],
    skipped: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> Iterator[RunWriter]:
    """Create a run file that appears under its name only when its first snapshot is complete."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        h5py.File(draft, "w", libver=_SUPERBLOCK_BOUNDS).close()
        with h5py.File(draft, "r+", libver=_OBJECT_BOUNDS, track_order=True) as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = f"{MAJOR}.{MINOR}"
            file.attrs["creator"] = f"koopscope {__version__}"
            file.attrs["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
            file.attrs["metadata"] = json.dumps(_jsonable(metadata))
            file.attrs["skipped"] = json.dumps(
                [{"name": name, "reason": reason} for name, reason in skipped.items()]
            )
            file.create_dataset("step", (0,), np.int64, maxshape=(None,), chunks=(_SCALAR_CHUNK,))
            weights = file.create_group("weights", track_order=True)
            file.create_group("metrics", track_order=True)
            for plan in tensors:
                _create_tensor(weights, plan)
            yield RunWriter(file)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def open_for_appending(path: Path, patience: float) -> Iterator[RunWriter]:
    """Open an existing run file, waiting up to ``patience`` seconds for another program's lock."""
    with _open_patiently(path, patience) as file:
        if _text(file.attrs.get("format")) != FORMAT:
            raise KoopscopeError(
                f"{path} exists and is not a koopscope run file", "record to another path"
            )
        yield RunWriter(file)


def chunk_shape(shape: tuple[int, ...], elements: int = CHUNK_ELEMENTS) -> tuple[int, ...]:
    """Return the chunk of one snapshot: whole trailing axes, then even parts of what is left."""
    chunk: list[int] = []
    for size in reversed(shape):
        parts = math.ceil(size / max(1, elements))
        chunk.append(math.ceil(size / parts))
        elements //= chunk[-1]
    return tuple(reversed(chunk))


def _create_tensor(weights: h5py.Group, plan: TensorPlan) -> None:
    *groups, name = plan.name.split("/")
    for part in groups:
        weights = weights[part] if part in weights else weights.create_group(part, track_order=True)
    dataset = weights.create_dataset(
        name,
        (0, *plan.shape),
        STORED_AS[plan.dtype],
        maxshape=(None, *plan.shape),
        chunks=(1, *chunk_shape(plan.shape)),
    )
    if plan.kind != "parameter":
        dataset.attrs["kind"] = plan.kind
    if plan.dtype == "bfloat16":
        dataset.attrs["dtype"] = "bfloat16"


def _planned(group: h5py.Group, rows: int, prefix: str = "") -> Iterator[TensorPlan]:
    """Yield the tensors that are still being recorded: those with a row in every snapshot."""
    for key in group:
        member = group[key]
        if isinstance(member, h5py.Group):
            yield from _planned(member, rows, f"{prefix}{key}/")
        elif member.shape[0] >= rows:
            dtype = _text(member.attrs.get("dtype")) or member.dtype.name
            kind = _text(member.attrs.get("kind")) or "parameter"
            yield TensorPlan(f"{prefix}{key}", member.shape[1:], dtype, kind)


def name_problem(name: str, taken: Sequence[TensorPlan]) -> str:
    """Return why HDF5 cannot store a tensor under this name, or an empty string."""
    if any(part in ("", ".") for part in name.split("/")) or not name.isprintable():
        return f"not storable in HDF5 under the name {name!r}"
    for other in taken:
        if other.name.startswith(f"{name}/") or name.startswith(f"{other.name}/"):
            return f"not storable in HDF5 next to a tensor named {other.name}"
    return ""


def _dataset_names(group: h5py.Group, prefix: str = "") -> Iterator[str]:
    for key in group:
        if isinstance(group[key], h5py.Group):
            yield from _dataset_names(group[key], f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}"


def _skipped_names(file: h5py.File) -> frozenset[str]:
    try:
        listed = json.loads(_text(file.attrs.get("skipped")) or "[]")
        return frozenset(str(entry["name"]) for entry in listed)
    except (ValueError, TypeError, KeyError):
        return frozenset()


def _open_patiently(path: Path, patience: float) -> h5py.File:
    deadline = time.monotonic() + patience
    wait = 0.005
    while True:
        try:
            return h5py.File(path, "r+", libver=_OBJECT_BOUNDS)
        except BlockingIOError:
            if time.monotonic() + wait > deadline:
                raise
            time.sleep(wait)
            wait = min(2 * wait, 0.2)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
