"""Train the runs of the comparison's study: ``python -m studies.comparison.train FOLDER``.

A run that the folder holds is not trained again. Each takes about a second.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from koopscope.runs.native.recorder import Recorder
from studies import training
from studies.comparison.recipes import SNAPSHOTS, Variant, in_turn, seeds
from studies.families import FAMILIES
from studies.plan import PACES
from studies.tasks import Task


class _Trainer(training.Trainer):
    """The yardstick's trainer with a batch size, an order and a precision of its own."""

    variant: Variant

    def batch(self) -> tuple[Tensor, Tensor]:
        if self.task.full_batch:
            return self.task.x, self.task.y
        if len(self.order) < self.variant.batch:
            count = len(self.task.x)
            self.order = (
                torch.randperm(count, generator=self.generator)
                if self.variant.shuffled
                else torch.arange(count)
            )
        batch = self.variant.batch
        index, self.order = self.order[:batch], self.order[batch:]
        return self.task.x[index], self.task.y[index]

    def step(self, factor: float) -> float:
        loss = super().step(factor)
        if self.variant.half_precision:
            with torch.no_grad():
                for parameter in self.net.parameters():
                    parameter.copy_(parameter.to(torch.bfloat16).to(torch.float32))
        return loss


def optimizer_of(variant: Variant) -> str:
    """Return the optimizer a variant is trained with: the changed one, if that is the change."""
    if variant.change != "optimizer":
        return variant.optimizer
    return "adam" if variant.optimizer == "momentum" else "sgd"


@cache
def _task(family: str) -> Task:
    return FAMILIES[family].task()


def trained(folder: Path, variant: Variant, seed: int) -> Path:
    """Train one run; return its file."""
    path = folder / f"{variant.name(seed)}.h5"
    if path.exists():
        return path
    torch.manual_seed(seed)
    family = FAMILIES[variant.family]
    task = _task(variant.family)
    net = family.network(variant.dropout, False)
    made = training.make_optimizer(net, optimizer_of(variant), variant.rate, variant.weight_decay)
    trainer = _Trainer(net, task, made, seed)
    trainer.variant = variant
    every = PACES[variant.family].steps_per_snapshot
    course = trainer.train("constant", SNAPSHOTS, every, budgets=1)
    draft = path.with_suffix(".part")
    draft.unlink(missing_ok=True)
    with Recorder(draft) as recorder:
        for index, weights in enumerate(course.weights):
            recorder.snapshot(
                course.steps[index],
                weights,
                loss=course.train_loss[index],
                val_loss=course.val_loss[index],
            )
    draft.rename(path)
    return path


if __name__ == "__main__":
    torch.set_num_threads(1)
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    todo = [(variant, seed) for variant in in_turn() for seed in seeds(variant)]
    for done, (variant, seed) in enumerate(todo):
        print(done, len(todo), trained(into, variant, seed).name, flush=True)
