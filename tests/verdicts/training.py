"""Train one recipe, record its first half as a run file, and keep what became of it.

The network trains for twice the recorded budget; the second half is only used for the labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from koopscope.runs.native.recorder import Recorder
from tests.verdicts import networks, tasks
from tests.verdicts.plan import FAMILIES, Recipe

BATCH = 32


@dataclass
class Course:
    """What was seen while a network trained; one entry per snapshot."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)  # mean of the minibatches since the last one
    val_loss: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)  # no dropout, whole training set
    rate: list[float] = field(default_factory=list)
    weights: list[dict[str, np.ndarray]] = field(default_factory=list)
    first_gradient_norm: float = math.nan


def make_optimizer(net: nn.Module, name: str, rate: float, decay: float) -> torch.optim.Optimizer:
    if name in ("sgd", "momentum"):
        momentum = 0.9 if name == "momentum" else 0.0
        return torch.optim.SGD(net.parameters(), rate, momentum=momentum, weight_decay=decay)
    if name == "adam":
        return torch.optim.Adam(net.parameters(), rate, weight_decay=decay, fused=True)
    return torch.optim.AdamW(net.parameters(), rate, weight_decay=10 * decay, fused=True)


def rate_at(schedule: str, step: int, budget: int) -> float:
    """Return the factor on the rate; cosine starts again after the budget, step stays low."""
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * (step % budget) / budget))
    if schedule == "step":
        return 1.0 if step < 0.5 * budget else (0.2 if step < 0.75 * budget else 0.04)
    return 1.0


@torch.no_grad()
def evaluate(net: nn.Module, task: tasks.Task, x: Tensor, y: Tensor) -> float:
    net.eval()
    value = float(task.loss(net(x), y))
    net.train()
    return value


def snapshot(net: nn.Module) -> dict[str, np.ndarray]:
    return {
        name: value.detach().numpy().copy()
        for name, value in net.state_dict().items()
        if value.is_floating_point()
    }


class Trainer:
    """A network in training, advanced from snapshot to snapshot."""

    def __init__(
        self, net: nn.Module, task: tasks.Task, optimizer: torch.optim.Optimizer, seed: int
    ):
        self.net, self.task, self.optimizer = net, task, optimizer
        self.base_rate = optimizer.param_groups[0]["lr"]
        self.generator = torch.Generator().manual_seed(seed)
        self.order: Tensor = torch.empty(0, dtype=torch.int64)
        self.course = Course()

    def batch(self) -> tuple[Tensor, Tensor]:
        if self.task.full_batch:
            return self.task.x, self.task.y
        if len(self.order) < BATCH:
            self.order = torch.randperm(len(self.task.x), generator=self.generator)
        index, self.order = self.order[:BATCH], self.order[BATCH:]
        return self.task.x[index], self.task.y[index]

    def step(self, factor: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.base_rate * factor
        x, y = self.batch()
        self.optimizer.zero_grad()
        loss = self.task.loss(self.net(x), y)
        loss.backward()
        if math.isnan(self.course.first_gradient_norm):
            squares = [
                float(p.grad.pow(2).sum()) for p in self.net.parameters() if p.grad is not None
            ]
            self.course.first_gradient_norm = math.sqrt(sum(squares))
        self.optimizer.step()
        return float(loss.detach())

    def record(self, step: int, loss: float, rate: float, keep_weights: bool) -> None:
        course, task = self.course, self.task
        course.steps.append(step)
        course.loss.append(loss)
        course.rate.append(rate)
        course.val_loss.append(evaluate(self.net, task, task.x_val, task.y_val))
        course.train_loss.append(evaluate(self.net, task, task.x, task.y))
        if keep_weights:
            course.weights.append(snapshot(self.net))

    def train(self, schedule: str, snapshots: int, every: int, budgets: int = 2) -> Course:
        """Train for so many budgets of ``snapshots`` snapshots, ``every`` steps apart."""
        budget = (snapshots - 1) * every
        self.record(0, math.nan, self.base_rate * rate_at(schedule, 0, budget), True)
        step = 0
        for index in range(1, budgets * (snapshots - 1) + 1):
            losses = []
            for _ in range(every):
                losses.append(self.step(rate_at(schedule, step, budget)))
                step += 1
            rate = self.base_rate * rate_at(schedule, step - 1, budget)
            self.record(step, float(np.mean(losses)), rate, index < snapshots)
        return self.course


def train_recipe(recipe: Recipe) -> Course:
    """Train one run of the yardstick for twice its budget."""
    torch.manual_seed(recipe.seed)
    family = FAMILIES[recipe.family]
    task = tasks.vary(family.task(), recipe.variant, recipe.seed)
    net = family.network(recipe.dropout, recipe.norm)
    networks.spoil(net, recipe.init, recipe.seed)
    optimizer = make_optimizer(net, recipe.optimizer, recipe.rate, recipe.weight_decay)
    trainer = Trainer(net, task, optimizer, recipe.seed)
    return trainer.train(recipe.schedule, recipe.snapshots, recipe.steps_per_snapshot)


def write_run(path: Path, course: Course, dtype: str) -> None:
    """Record the first half of a course as a run file."""
    stored = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    with Recorder(path) as recorder:
        for index, weights in enumerate(course.weights):
            recorder.snapshot(
                course.steps[index],
                {name: torch.from_numpy(value).to(stored) for name, value in weights.items()},
                loss=course.loss[index] if index else None,
                val_loss=course.val_loss[index],
                lr=course.rate[index],
            )


def outcome(course: Course) -> dict[str, Any]:
    """Return what a label needs, as plain lists (NaN where training left the finite numbers)."""
    return {
        "steps": course.steps,
        "snapshots": len(course.weights),
        "loss": course.loss,
        "val_loss": course.val_loss,
        "train_loss": course.train_loss,
        "rate": course.rate,
        "first_gradient_norm": course.first_gradient_norm,
    }
