"""The folders of Hugging Face's Trainer: weights, and what ``trainer_state.json`` tells of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.safetensors import safetensors_snapshot, sharded_snapshot
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch import sharded_torch_snapshot, torch_snapshot

_STATE = "trainer_state.json"
_STATE_LIMIT = 256 * 2**20

#: The names under which weights are saved, best first.
_WEIGHTS: dict[str, Callable[[Path], Snapshot]] = {
    "model.safetensors": safetensors_snapshot,
    "model.safetensors.index.json": sharded_snapshot,
    "adapter_model.safetensors": safetensors_snapshot,
    "pytorch_model.bin": torch_snapshot,
    "pytorch_model.bin.index.json": sharded_torch_snapshot,
    "adapter_model.bin": torch_snapshot,
}


def weights_in(folder: Path) -> Path | None:
    """Return the file with the weights in a checkpoint folder, or ``None`` if it is none."""
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def folder_snapshot(folder: Path) -> Snapshot:
    """Describe a folder such as ``checkpoint-500``.

    Raises
    ------
    KoopscopeError
        If its weights or its ``trainer_state.json`` cannot be read.
    """
    weights = weights_in(folder)
    if weights is None:
        raise KoopscopeError(f"{folder} holds no model.safetensors", "name a checkpoint folder")
    snapshot = replace(_WEIGHTS[weights.name](weights), path=str(folder))
    state = _state(folder / _STATE)
    if state is None:
        return snapshot
    log = tuple(
        {k: float(v) for k, v in entry.items() if isinstance(v, (int, float)) and k != "epoch"}
        for entry in state.get("log_history") or []
        if isinstance(entry, dict) and "train_runtime" not in entry  # the closing summary
    )
    step = state.get("global_step")
    return replace(
        snapshot,
        kind=f"Hugging Face checkpoint ({snapshot.kind})",
        step=step if type(step) is int else snapshot.step,
        unit="step",
        log=log,
    )


def _state(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            state = json.loads(file.read(_STATE_LIMIT))
    except (OSError, ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise KoopscopeError(
            f"{path} is not a readable JSON object", "copy the checkpoint again, or delete the file"
        )
    return state
