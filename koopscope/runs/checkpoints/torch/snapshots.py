"""Checkpoints of PyTorch, and archives and folders that are built on it, described as snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.safetensors import read_index
from koopscope.runs.checkpoints.snapshot import Snapshot, plain_names
from koopscope.runs.checkpoints.torch.archive import (
    ZIP,
    archive_text,
    content_of,
    is_old_tar,
    is_stream,
    open_zip,
    stored_part,
)
from koopscope.runs.checkpoints.torch.content import Content
from koopscope.runs.checkpoints.torch.description import Described, described
from koopscope.runs.checkpoints.torch.modules import entries
from koopscope.runs.checkpoints.torch.reading import Files, Piece, TorchReader, describing, place_of
from koopscope.runs.checkpoints.torch.tensors import StoredTensor
from koopscope.runs.checkpoints.torch.window import FileWindow, damage_of

#: A stable-baselines3 archive: its weights, and what says how far training was.
_POLICY, _ABOUT_POLICY = "policy.pth", "data"

_WHOLE = "copy the whole checkpoint"


def torch_snapshot(path: Path, key: str | None = None) -> Snapshot:
    """Describe a file that ``torch.save`` or ``torch.jit.save`` wrote, or a stable-baselines3 zip.

    Parameters
    ----------
    path
        The file; its name does not matter.
    key
        Where in it the weights lie, if not where they are looked for.

    Raises
    ------
    KoopscopeError
        If it is damaged, or has no weights in it.
    """
    with damage_of(path), describing() as files:
        content, step = _content(files.whole(path))
        locate = partial(piece_of, path, content)
        description = described(path, content.value, locate, files, key)
        return snapshot_of(path, _kind(content), description, files, step)


def sharded_torch_snapshot(index: Path, key: str | None = None) -> Snapshot:
    """Describe a sharded set by its ``pytorch_model.bin.index.json``.

    Raises
    ------
    KoopscopeError
        If the index or a shard is missing or damaged, or they disagree.
    """
    weight_map = read_index(index)
    parts: list[Described] = []
    with describing() as files:
        for shard in [index.with_name(name) for name in dict.fromkeys(weight_map.values())]:
            if not shard.is_file():
                raise KoopscopeError(
                    f"the shard {shard} is missing, which {index.name} names", _WHOLE
                )
            with damage_of(shard):
                content = content_of(files.whole(shard))
                locate = partial(piece_of, shard, content)
                parts.append(described(shard, content.value, locate, files, key))
        description = _joined(index, parts)
        known = {*description.pieces, *(skip.name for skip in description.skipped)}
        for name in plain_names(list(weight_map)).values():
            if name not in known:
                raise KoopscopeError(f"{name} is in none of the shards of {index}", _WHOLE)
        return snapshot_of(index, "sharded PyTorch", description, files)


def is_torch(window: FileWindow) -> bool:
    """Return whether a file, whatever its name, begins like one that ``torch_snapshot`` reads.

    Raises
    ------
    OSError, DamagedError
        If it cannot be read as far as that takes.
    """
    head = window.read(0, min(512, window.size))
    if head.startswith(ZIP):
        with open_zip(window) as archive:
            names = archive.namelist()
        return _POLICY in names or any(n.endswith("/data.pkl") for n in names)
    return is_stream(head) or is_old_tar(window)


def snapshot_of(
    path: Path, kind: str, description: Described, files: Files, step: int | None = None
) -> Snapshot:
    """Return a snapshot of what was described; ``step`` is what something beside it says.

    Parameters
    ----------
    files
        Those that are open from describing it: who reads it first has them.
    """
    return Snapshot(
        path=str(path),
        kind=kind,
        tensors=description.tensors,
        open=TorchReader.handed_over(description.pieces, files),
        step=description.step if step is None else step,
        unit=description.unit if step is None else "step",
        metrics=description.metrics,
        skipped=description.skipped,
        notes=description.notes,
    )


def _content(window: FileWindow) -> tuple[Content, int | None]:
    """Return what a file holds, and the step that an archive says beside its weights."""
    if window.size < 4 or window.read(0, 4) != ZIP:
        return content_of(window), None
    with _zip_with_policy(window) as archive:
        if archive is None:
            return content_of(window), None
        part = stored_part(window, archive.getinfo(_POLICY))
        step = _timesteps(archive)
    content = content_of(part)
    return Content(content.value, "stable-baselines3", content.locate, content.big_endian), step


@contextmanager
def _zip_with_policy(window: FileWindow) -> Iterator[ZipFile | None]:
    with open_zip(window) as archive:
        yield archive if _POLICY in archive.namelist() else None


def _timesteps(archive: ZipFile) -> int | None:
    if _ABOUT_POLICY not in archive.namelist():
        return None
    try:
        said = json.loads(archive_text(archive, archive.getinfo(_ABOUT_POLICY)))
    except (ValueError, RecursionError):
        return None
    step = said.get("num_timesteps") if isinstance(said, dict) else None
    return step if type(step) is int and 0 <= step < 2**62 else None


def piece_of(path: Path, content: Content, tensor: StoredTensor) -> tuple[Piece, ...]:
    """Return the one piece of a tensor that lies in a file, which holds ``content``.

    Raises
    ------
    DamagedError
        If it is not there.
    """
    region = content.locate(tensor.storage)
    place = place_of(path, tensor, region, content.big_endian)
    return (Piece((0,) * len(tensor.shape), place),)


def _kind(content: Content) -> str:
    lightning = "pytorch-lightning_version" in entries(content.value)
    return "Lightning checkpoint" if lightning else content.form


def _joined(path: Path, parts: Sequence[Described]) -> Described:
    """Join the descriptions of files that hold one snapshot together."""
    if not parts:
        raise KoopscopeError(f"{path} names no shards", _WHOLE)
    pieces: dict[str, Any] = {}
    for part in parts:
        for name in part.pieces:
            if name in pieces:
                raise KoopscopeError(f"two shards of {path} hold {name}", _WHOLE)
        pieces |= part.pieces
    first = next((part for part in parts if part.step is not None), parts[0])
    return Described(
        tensors=tuple(tensor for part in parts for tensor in part.tensors),
        pieces=pieces,
        skipped=tuple(skip for part in parts for skip in part.skipped),
        step=first.step,
        unit=first.unit,
        metrics={name: value for part in parts for name, value in part.metrics.items()},
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
