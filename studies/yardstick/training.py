"""Train one recipe for twice its budget; keep the weights of the first half and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.yardstick import families, starts
from studies.yardstick.optimizers import Flat, Optimizer, rate_at
from studies.yardstick.plan import PACES, Recipe

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Trained:
    """What a run was.

    Attributes
    ----------
    flat
        Names and places of the parameters.
    weights
        float32 [T, N], the recorded half as it was stored.
    outcome
        Plain lists over both halves: steps, losses, rates; and where the recorded half ends.
    """

    flat: Flat
    weights: np.ndarray
    outcome: dict[str, Any]


def snapshot_steps(recipe: Recipe) -> tuple[list[int], int]:
    """Return the steps of all snapshots of both halves, and how many the first half has."""
    every = max(1, recipe.steps // (recipe.snapshots - 1))
    budget = every * (recipe.snapshots - 1)
    steps = list(range(0, budget + 1, every))
    if recipe.uneven and every >= 2:
        dense = range(every // 2, budget // 5, every)
        steps = sorted({*steps, *dense})
    later = range(budget + every, 2 * budget + 1, every)
    return [*steps, *later], len(steps)


def train(recipe: Recipe) -> Trained:
    """Train one run."""
    torch.manual_seed(recipe.seed)
    problem = families.problem(recipe.family, recipe.variant, recipe.seed)
    chance = problem.chance or problem.measure()
    if recipe.start == "trained":
        pace = PACES[recipe.family]
        families.teach(problem, pace.steps // 3, pace.adam, recipe.seed + 1)
    elif recipe.start == "partly_frozen":
        starts.freeze_some(problem.net, recipe.seed)
    starts.spoil(problem.net, recipe.start, recipe.seed)
    flat = Flat(problem.net)
    optimizer = Optimizer(flat, recipe.optimizer, recipe.weight_decay)
    generator = torch.Generator().manual_seed(recipe.seed)
    steps, recorded = snapshot_steps(recipe)
    budget = steps[recorded - 1]
    losses: list[float] = []
    kept: list[Tensor] = []
    told: dict[str, list[float]] = {"loss": [], "val_loss": [], "train_loss": [], "rate": []}
    norm, step = math.nan, 0
    for target in steps:
        losses.clear()
        while step < target:
            if recipe.variant == "shift" and step == budget // 2:
                problem.shift()
            losses.append(problem.backward(generator))
            if step == 0:
                norm = float(flat.gradient.norm())
            optimizer.step(recipe.rate * rate_at(recipe.schedule, step, budget))
            step += 1
        train_loss, val_loss = problem.measure()
        now = {"mean": np.mean(losses) if losses else math.nan, "whole": train_loss}
        told["loss"].append(float(now.get(recipe.recorded, losses[-1] if losses else math.nan)))
        told["val_loss"].append(val_loss)
        told["train_loss"].append(train_loss)
        told["rate"].append(recipe.rate * rate_at(recipe.schedule, max(0, step - 1), budget))
        if len(kept) < recorded:
            kept.append(flat.weights.clone())
    stored = torch.stack(kept).to(_DTYPES[recipe.dtype]).float().numpy()
    outcome = {
        **told,
        "steps": steps,
        "snapshots": recorded,
        "first_gradient_norm": norm,
        "chance": list(chance),
    }
    return Trained(flat, stored, outcome)
