"""Distributed checkpoints: ``.metadata`` beside ``__0_0.distcp``, ``__1_0.distcp``, ...

``torch.distributed.checkpoint`` saves each rank's part of a tensor by itself; the metadata, a
pickle, says which part of which tensor lies in which bytes of which file. None of it is believed:
the parts must fill each tensor once, and lie in files beside the metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch.archive import content_of
from koopscope.runs.checkpoints.torch.description import described
from koopscope.runs.checkpoints.torch.dtypes import WIDTHS
from koopscope.runs.checkpoints.torch.inert import Inert, Name, is_a
from koopscope.runs.checkpoints.torch.modules import entries
from koopscope.runs.checkpoints.torch.reading import Files, Piece, describing, place_of
from koopscope.runs.checkpoints.torch.snapshots import snapshot_of
from koopscope.runs.checkpoints.torch.tensors import (
    OtherTensor,
    Storage,
    StoredTensor,
    is_count,
)
from koopscope.runs.checkpoints.torch.window import (
    DamagedError,
    FileWindow,
    damage_of,
    opened,
)
from koopscope.runs.names import how_far

METADATA = ".metadata"

#: Megatron keeps what is not sharded, the iteration among it, in a file of its own.
_BESIDE = "common.pt"

#: A number that was saved by itself takes about a kilobyte.
_SMALL = 2**20
_MOST_PARTS = 2**14
_DEEPEST = 16


def distributed_snapshot(path: Path, key: str | None = None) -> Snapshot:
    """Describe the folder of a distributed checkpoint by its ``.metadata``.

    Raises
    ------
    KoopscopeError
        If a file is missing or damaged, or the parts do not make up the tensors.
    """
    folder = path.parent
    with damage_of(path), describing() as files:
        with opened(path) as window:
            metadata = _metadata(window)
        parts = _Parts(folder, metadata.attributes, files)
        description = described(folder, parts.value(), parts.locate, files, key)
        step = _iteration(folder / _BESIDE)
        return snapshot_of(folder, "distributed checkpoint", description, files, step)


def _metadata(window: FileWindow) -> Any:
    if window.size and window.read(0, 1) != b"\x80":
        raise DamagedError("it is no pickle")
    metadata = content_of(window).value
    if not is_a(metadata, "Metadata", "torch.distributed"):
        raise DamagedError("it is not the metadata of a distributed checkpoint")
    return metadata


@dataclass(frozen=True)
class _Held:
    """Where one part lies."""

    path: Path
    offset: int
    size: int


class _Parts:
    """What the metadata says, and the files it names, opened as far as they are needed."""

    def __init__(self, folder: Path, said: Mapping[Any, Any], files: Files) -> None:
        self._folder, self._files = folder, files
        self._described = entries(said.get("state_dict_metadata"))
        self._paths = entries(said.get("planner_data"))
        self._held = _held(folder, entries(said.get("storage_data")))

    def value(self) -> dict[str, Any]:
        """Return what was saved: mappings with tensors, and the numbers that tell the step."""
        top: dict[str, Any] = {}
        for name, about in self._described.items():
            inner = top
            *path, last = _path(self._paths.get(name)) or (str(name),)
            for part in path:
                below = inner.setdefault(part, {})
                if not isinstance(below, dict):
                    raise DamagedError(f"{name!r:.80} lies inside what is no mapping")
                inner = below
            inner[last] = self._entry(str(name), about, last)
        return top

    def locate(self, tensor: StoredTensor) -> tuple[Piece, ...]:
        """Return the parts of a tensor, which fill it once.

        Raises
        ------
        DamagedError
            If they do not.
        """
        name = tensor.storage.key
        chunks = entries(self._described[name]).get("chunks")
        if not isinstance(chunks, list) or len(chunks) > _MOST_PARTS:
            raise DamagedError(f"{name} has no list of parts that could be read")
        corners = [_box(name, tensor, chunk) for chunk in chunks]
        _must_fill(name, tensor, corners)
        return tuple(self._piece(name, tensor, *box) for box in corners)

    def _entry(self, name: str, about: Any, last: str) -> Any:
        if is_a(about, "TensorStorageMetadata"):
            return _tensor(name, about)
        held = self._held.get((name, None))
        if how_far([last]) and held is not None and held.size <= _SMALL:
            return content_of(self._window(name, held)).value
        return Inert(Name("torch.distributed.checkpoint", "object"))

    def _piece(
        self, name: str, tensor: StoredTensor, corner: tuple[int, ...], shape: tuple[int, ...]
    ) -> Piece:
        held = self._held.get((name, corner))
        if held is None:
            raise DamagedError(f"the part of {name} at {list(corner)} is in no file")
        content = content_of(self._window(name, held))
        part = content.value
        if not isinstance(part, StoredTensor) or part.shape != shape or part.dtype != tensor.dtype:
            raise DamagedError(
                f"{held.path.name} does not hold the part {list(shape)} of {name} at byte "
                f"{held.offset:,}"
            )
        region = content.locate(part.storage)
        return Piece(corner, place_of(held.path, part, region, content.big_endian))

    def _window(self, name: str, held: _Held) -> FileWindow:
        try:
            window = self._files.whole(held.path)
        except FileNotFoundError:
            raise DamagedError(f"{held.path.name} is missing, which holds {name}") from None
        if held.offset + held.size > window.size:
            raise DamagedError(
                f"{held.path.name} has {window.size:,} bytes, and {name} should end at "
                f"{held.offset + held.size:,}"
            )
        return window.part(held.offset, held.size)


def _held(folder: Path, said: Mapping[Any, Any]) -> dict[tuple[str, tuple[int, ...] | None], _Held]:
    held: dict[tuple[str, tuple[int, ...] | None], _Held] = {}
    for index, about in said.items():
        key, info = entries(index), entries(about)
        name, corner, home = key.get("fqn"), key.get("offset"), info.get("relative_path")
        offset: Any = info.get("offset")
        size: Any = info.get("length")
        if not isinstance(name, str) or not isinstance(home, str):
            raise DamagedError("its list of parts is of a form that is not known")
        if Path(home).name != home or home in ("", ".", ".."):
            raise DamagedError(f"it names the file {home!r:.80}, which is not beside it")
        if not is_count(offset) or not is_count(size):
            raise DamagedError(f"{name} lies at no offset")
        if info.get("transform_descriptors"):
            raise DamagedError(f"{name} is stored compressed or otherwise changed")
        if corner is not None and not (isinstance(corner, tuple) and all(map(is_count, corner))):
            raise DamagedError(f"a part of {name} begins at no offset")
        if (name, corner) in held:
            raise DamagedError(f"the part of {name} at {corner} is listed twice")
        held[name, corner] = _Held(folder / home, offset, size)
    return held


def _tensor(name: str, about: Any) -> StoredTensor | OtherTensor:
    said = entries(about)
    properties = said.get("properties")
    state = properties.state if isinstance(properties, Inert) else None
    kind = state[0] if isinstance(state, tuple) and state else entries(properties).get("dtype")
    dtype = kind.name if isinstance(kind, Name) else ""
    shape = said.get("size")
    if dtype not in WIDTHS:
        return OtherTensor(f"{dtype or 'unknown'} values, which are not known")
    if not isinstance(shape, tuple) or not all(map(is_count, shape)) or len(shape) > 64:
        raise DamagedError(f"{name} has no shape")
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return StoredTensor(Storage(name, dtype, math.prod(shape)), dtype, 0, shape, strides)


def _box(name: str, tensor: StoredTensor, chunk: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    said = entries(chunk)
    corner, shape = said.get("offsets"), said.get("sizes")
    sizes = tensor.shape
    if (
        not (isinstance(corner, tuple) and isinstance(shape, tuple))
        or not len(corner) == len(shape) == len(sizes)
        or not all(map(is_count, (*corner, *shape)))
        or any(a + n > m for a, n, m in zip(corner, shape, sizes, strict=True))
    ):
        raise DamagedError(f"a part of {name} does not lie within its shape {list(sizes)}")
    return corner, shape


def _must_fill(
    name: str, tensor: StoredTensor, boxes: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    """Make sure that parts within a tensor fill it once: as many elements, and none twice."""
    stored = sum(math.prod(shape) for _, shape in boxes)
    if stored != tensor.size:
        raise DamagedError(f"the parts of {name} hold {stored:,} of its {tensor.size:,} values")
    if len(boxes) < 2:
        return
    low = np.array([corner for corner, _ in boxes], np.int64)
    high = low + np.array([shape for _, shape in boxes], np.int64)
    for index in range(len(boxes) - 1):
        apart = (low[index + 1 :] >= high[index]) | (high[index + 1 :] <= low[index])
        if not apart.any(axis=1).all():
            raise DamagedError(f"parts of {name} overlap")


def _path(said: Any) -> tuple[str, ...]:
    """Return where an entry lay in what was saved; nothing if the planner does not say."""
    if not isinstance(said, tuple) or not 0 < len(said) <= _DEEPEST:
        return ()
    return tuple(map(str, said)) if all(isinstance(p, (str, int)) for p in said) else ()


def _iteration(path: Path) -> int | None:
    if not path.is_file():
        return None
    try:
        with damage_of(path), opened(path) as window:
            said = entries(content_of(window).value).get("iteration")
    except KoopscopeError:
        return None
    return said if is_count(said) else None
