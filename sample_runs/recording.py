"""Record a recipe's training as a run file, with all that was measured about it."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from koopscope.runs.native.recorder import Recorder
from sample_runs.training import Recipe, Snapshot, train


def record(recipe: Recipe, path: Path) -> None:
    """Train and write ``path``, which must not exist yet."""
    with Recorder(path, metadata=describe(recipe)) as recorder:
        for snapshot in train(recipe):
            if not recorder.snapshot(snapshot.step, snapshot.weights, **snapshot.metrics):
                raise OSError(f"step {snapshot.step} was not written to {path}")


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return the run's metadata: how it was trained, and how its variations ended."""
    network, shape = recipe.network
    optimizer, settings = recipe.optimizer
    return {
        "truth": recipe.truth,
        "task": recipe.task,
        "loss": "evaluated on the whole training set, with the weights of the snapshot",
        "network": network,
        **shape,
        "initialization": recipe.initialization,
        "optimizer": optimizer,
        **settings,
        "schedule": recipe.schedule,
        **({"frozen": list(recipe.frozen)} if recipe.frozen else {}),
        "batch_size": recipe.batch,
        "seed": recipe.seed,
        "framework": f"torch {torch.__version__.partition('+')[0]}",
        "platform": f"{platform.system()} {platform.machine()}",
        "variations": {name: ending(train(recipe.varied(name))) for name in recipe.variations},
    }


def ending(snapshots: Iterable[Snapshot]) -> dict[str, float]:
    """Return the last step and metrics of a training, and its lowest validation loss."""
    lowest = math.inf
    for snapshot in snapshots:
        lowest = min(lowest, snapshot.metrics["val_loss"])
    return {"step": snapshot.step, **snapshot.metrics, "lowest_val_loss": lowest}
