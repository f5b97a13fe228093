"""Train the runs of the study: ``python -m studies.rules.train FOLDER [--tuning]``.

Each run is recorded as a run file, next to a JSON file of what the tool does not see: the loss on
the whole training set, a second half of the validation set, the fault that was put in, and where
the run went when it was trained on at the same and at a tenth of the rate.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from koopscope.runs.native.recorder import Recorder
from studies import tasks, training
from studies.families import FAMILIES
from studies.plan import PACES
from studies.rules.plan import SNAPSHOTS, Recipe, all_recipes

#: Where faults are put in, as part of the budget, and how long a rate stays wrong, in snapshots.
SPIKE_AT, DEAD_FROM, FROZEN_FROM, WRONG_FOR = 0.6, 0.3, 0.5, 2

#: Part of a layer's units that are killed; factor on the rate while it is wrong.
KILLED, WRONG_RATE = 0.7, 50.0

#: How long a run is trained on for its label, as part of the budget.
TRAINED_ON = 0.25


class LowRank(nn.Module):
    """A frozen linear layer and an adapter B A, with B at zero as usual."""

    def __init__(self, base: nn.Linear, rank: int = 4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(0.3 * torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.lora_A.T @ self.lora_B.T


class Trainer(training.Trainer):
    """The yardstick's trainer with a fault, and with two halves of the validation set."""

    def __init__(self, recipe: Recipe, net: nn.Module, task: tasks.Task, made: Any):
        super().__init__(net, task, made, recipe.seed)
        self.recipe = recipe
        self.second_half: list[float] = []
        self.done = 0
        self.killed: dict[str, list[int]] = {}
        self.fault_steps: list[int] = []
        self.budget = (SNAPSHOTS - 1) * recipe.every

    def step(self, factor: float) -> float:
        kind, at = self.recipe.kind, self.done / self.budget
        self.done += 1
        started = at - SPIKE_AT
        if kind == "lasting" and 0.0 <= started < WRONG_FOR / (SNAPSHOTS - 1):
            self.fault_steps.append(self.done)
            return super().step(WRONG_RATE * factor)
        if kind == "spike" and 0.0 <= started * self.budget < 2:
            self.fault_steps.append(self.done)
            return self._bad_batch(factor)
        if kind == "dead" and at >= DEAD_FROM and not self.killed:
            self._kill()
        if kind == "frozen" and at >= FROZEN_FROM:
            for parameter in self.first_matrix():
                parameter.requires_grad_(False)
                parameter.grad = None
        return super().step(factor)

    def _bad_batch(self, factor: float) -> float:
        """Take a step on wrong answers, and on inputs ten times as large where they are real."""
        task, generator = self.task, self.generator
        x, y = self.batch()
        x = 10.0 * x if x.is_floating_point() else x
        y = y[torch.randperm(len(y), generator=generator)]
        self.task = dataclasses.replace(task, x=x, y=y, full_batch=True)
        loss = super().step(10.0 * factor)
        self.task = task
        return loss

    def first_matrix(self) -> list[nn.Parameter]:
        name = next(name for name, p in self.net.named_parameters() if p.ndim >= 2)
        stem = name.rpartition(".")[0]
        return [p for name, p in self.net.named_parameters() if name.rpartition(".")[0] == stem]

    def _kill(self) -> None:
        """Let no gradient reach most units of the widest hidden layer any more."""
        named = dict(self.net.named_parameters())
        matrices = [name for name, p in named.items() if p.ndim >= 2][:-1]
        name = max(matrices, key=lambda name: len(named[name]))
        units = len(named[name])
        rows = torch.randperm(units, generator=self.generator)[: round(KILLED * units)]
        self.killed = {name: sorted(rows.tolist())}
        for each in (name, name.replace("weight", "bias")):
            if each in named:
                keep = torch.ones(units)
                keep[rows] = 0.0
                shaped = keep.reshape(-1, *[1] * (named[each].ndim - 1))
                named[each].register_hook(lambda grad, mask=shaped: grad * mask)

    def record(self, step: int, loss: float, rate: float, keep_weights: bool) -> None:
        task = self.task
        half = len(task.x_val) // 2
        self.task = dataclasses.replace(task, x_val=task.x_val[half:], y_val=task.y_val[half:])
        self.second_half.append(
            training.evaluate(self.net, task, task.x_val[:half], task.y_val[:half])
        )
        super().record(step, loss, rate, keep_weights)
        self.task = task


def trained_on(trainer: Trainer, factor: float) -> dict[str, Any]:
    """Train a copy on for a while; return its loss, and how far each tensor moved."""
    twin = copy.deepcopy(trainer)
    before = {name: p.detach().clone() for name, p in twin.net.named_parameters()}
    losses = []
    for _ in range(round(TRAINED_ON * trainer.budget / trainer.recipe.every)):
        for _ in range(trainer.recipe.every):
            training.Trainer.step(twin, factor)
        losses.append(training.evaluate(twin.net, twin.task, twin.task.x, twin.task.y))
    moved = {
        name: float((p.detach() - before[name]).norm()) for name, p in twin.net.named_parameters()
    }
    return {"train_loss": losses, "moved": moved}


def network(recipe: Recipe) -> nn.Module:
    net = FAMILIES[recipe.family].network(0.0, False)
    if recipe.kind == "lora":
        for index, layer in enumerate(net):  # type: ignore[arg-type, var-annotated]
            if isinstance(layer, nn.Linear):
                net[index] = LowRank(layer)  # type: ignore[index, operator]
    return net


def train(recipe: Recipe) -> tuple[Trainer, dict[str, Any]]:
    torch.manual_seed(recipe.seed)
    task = tasks.vary(FAMILIES[recipe.family].task(), recipe.variant, recipe.seed)
    net = network(recipe)
    base = PACES[recipe.family].rates[{"sgd": 0, "momentum": 1}.get(recipe.optimizer, 2)]
    rate = base * (recipe.factor or 1.0)
    if recipe.kind == "lora" and not recipe.factor:
        for name, parameter in net.named_parameters():  # the optimizer never got the second half
            parameter.requires_grad_(parameter.requires_grad and "lora_B" not in name)
    made = training.make_optimizer(net, recipe.optimizer, rate, 1e-2 * ("w" in recipe.optimizer))
    trainer = Trainer(recipe, net, task, made)
    trainer.train("constant", SNAPSHOTS, recipe.every, budgets=1)
    course = trainer.course
    outcome: dict[str, Any] = {
        "recipe": dataclasses.asdict(recipe),
        "train_loss": course.train_loss,
        "second_val_loss": trainer.second_half,
        "killed": trainer.killed,
        "fault_steps": trainer.fault_steps,
        "chance": tasks.chance_level(task),
    }
    if recipe.kind in ("healthy", "high", "overfit"):
        outcome["same"] = trained_on(trainer, 1.0)
        outcome["lower"] = trained_on(trainer, 0.1)
    return trainer, outcome


def write(path: Path, trainer: Trainer) -> None:
    course = trainer.course
    with Recorder(path) as recorder:
        for index, weights in enumerate(course.weights):
            recorder.snapshot(
                course.steps[index],
                weights,
                loss=course.loss[index] if index else None,
                val_loss=course.val_loss[index],
                lr=course.rate[index],
            )


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for recipe in all_recipes(tuning="--tuning" in sys.argv):
        if (folder / f"{recipe.name}.json").exists():
            continue
        trainer, outcome = train(recipe)
        (folder / f"{recipe.name}.h5").unlink(missing_ok=True)
        write(folder / f"{recipe.name}.h5", trainer)
        text = json.dumps(outcome).replace("NaN", "null").replace("Infinity", "null")
        (folder / f"{recipe.name}.json").write_text(text)
        final = trainer.course.train_loss[-1]
        print(recipe.name, f"{final:.4g}" if math.isfinite(final) else "not finite", flush=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
