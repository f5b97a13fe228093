"""Folders that are one checkpoint: Hugging Face's, diffusers', Orbax' and others.

Finds the weights in a folder, and what ``trainer_state.json`` tells of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.adapters import adapter_snapshot, torch_adapter_snapshot
from koopscope.runs.checkpoints.hub_cache import must_stay_inside
from koopscope.runs.checkpoints.msgpack import msgpack_snapshot
from koopscope.runs.checkpoints.orbax import METADATA as ORBAX
from koopscope.runs.checkpoints.orbax import UNFINISHED, orbax_snapshot
from koopscope.runs.checkpoints.safetensors import safetensors_snapshot, sharded_snapshot
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch.deepspeed import deepspeed_snapshot
from koopscope.runs.checkpoints.torch.distributed import METADATA, distributed_snapshot
from koopscope.runs.checkpoints.torch.snapshots import (
    sharded_torch_snapshot,
    torch_snapshot,
)

_STATE = "trainer_state.json"
_STATE_LIMIT = 256 * 2**20

#: A name of a folder is not longer.
_TAG_LIMIT = 255

#: No step and no other whole number in a log is larger.
_LARGEST = 2**63

#: The names under which weights are saved, best first.
_WEIGHTS: dict[str, Callable[[Path], Snapshot]] = {
    "model.safetensors": safetensors_snapshot,
    "model.safetensors.index.json": sharded_snapshot,
    "adapter_model.safetensors": adapter_snapshot,
    "pytorch_lora_weights.safetensors": safetensors_snapshot,
    "diffusion_pytorch_model.safetensors": safetensors_snapshot,
    "diffusion_pytorch_model.safetensors.index.json": sharded_snapshot,
    "pytorch_model.bin": torch_snapshot,
    "pytorch_model.bin.index.json": sharded_torch_snapshot,
    "adapter_model.bin": torch_adapter_snapshot,
    "diffusion_pytorch_model.bin": torch_snapshot,
    "flax_model.msgpack": msgpack_snapshot,
    METADATA: distributed_snapshot,
    "mp_rank_00_model_states.pt": deepspeed_snapshot,
    "zero_pp_rank_0_mp_rank_00_model_states.pt": deepspeed_snapshot,
    ORBAX: orbax_snapshot,
}

#: The parts of a checkpoint that have a folder each, what is trained first: diffusers' and Orbax'.
_PARTS = ("unet", "transformer", "prior", "controlnet", "default", "state", "params", "model")

#: The kinds in which a key chooses what the weights are.
_KEYED: dict[Callable[..., Snapshot], Callable[[Path, str | None], Snapshot]] = {
    kind: kind
    for kind in (
        torch_snapshot,
        sharded_torch_snapshot,
        distributed_snapshot,
        deepspeed_snapshot,
        torch_adapter_snapshot,
    )
}


def describe(kind: Callable[[Path], Snapshot], path: Path, key: str | None) -> Snapshot:
    """Describe a file as one of a kind; ``key``, if given, says where in it the weights lie.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or is of a kind without keys.
    """
    if key is None:
        return kind(path)
    if kind not in _KEYED:
        raise KoopscopeError(
            f"--key {key} chooses inside files of PyTorch, and {path} is none", "leave it out"
        )
    return _KEYED[kind](path, key)


def weights_in(folder: Path) -> Path | None:
    """Return the file with the weights in a checkpoint folder, or ``None`` if it is none."""
    if UNFINISHED in folder.name:
        return None
    places = (folder, *(folder / part for part in _PARTS), *_tagged(folder))
    return next((p / name for p in places for name in _WEIGHTS if (p / name).is_file()), None)


def _tagged(folder: Path) -> tuple[Path, ...]:
    """Return the folder that DeepSpeed wrote into a checkpoint of the Trainer, by ``latest``."""
    said = folder / "latest"
    if not (folder / _STATE).is_file() or not said.is_file() or said.stat().st_size > _TAG_LIMIT:
        return ()
    tag = said.read_text("utf-8", "replace").strip()
    is_name = tag not in ("", ".", "..") and Path(tag).name == tag and "\0" not in tag
    return (folder / tag,) if is_name else ()


def folder_snapshot(folder: Path, key: str | None = None) -> Snapshot:
    """Describe a folder such as ``checkpoint-500``; ``key`` as for files of PyTorch.

    Raises
    ------
    KoopscopeError
        If its weights or its ``trainer_state.json`` cannot be read.
    """
    weights = weights_in(folder)
    if weights is None:
        raise KoopscopeError(f"{folder} holds no model.safetensors", "name a checkpoint folder")
    must_stay_inside(folder)
    must_stay_inside(weights.parent)
    snapshot = replace(describe(_WEIGHTS[weights.name], weights, key), path=str(folder))
    if weights.parent != folder:
        snapshot = replace(snapshot, notes=(*snapshot.notes, *_other_parts(folder, weights.parent)))
    state = _state(folder / _STATE)
    if state is None:
        return snapshot
    log = tuple(
        {k: float(v) for k, v in entry.items() if _is_number(v) and k != "epoch"}
        for entry in state.get("log_history") or []
        if isinstance(entry, dict) and "train_runtime" not in entry  # the closing summary
    )
    step = state.get("global_step")
    return replace(
        snapshot,
        kind=f"Hugging Face checkpoint ({snapshot.kind})",
        step=step if type(step) is int and 0 <= step < _LARGEST else snapshot.step,
        unit="step",
        log=log,
    )


def _other_parts(folder: Path, taken: Path) -> tuple[str, ...]:
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path != taken and path.is_dir() and any((path / name).is_file() for name in _WEIGHTS)
    )
    if not others:
        return ()
    return (
        f"the weights are those of {taken.name}; beside it lie {', '.join(others)}, which can be "
        "named instead",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < _LARGEST)


def _state(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            state = loaded(file.read(_STATE_LIMIT))
    except (OSError, ValueError):
        state = None
    if not isinstance(state, dict):
        raise KoopscopeError(
            f"{path} is not a readable JSON object", "copy the checkpoint again, or delete the file"
        )
    return state
