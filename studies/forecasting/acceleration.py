"""How much sooner a network reaches the best training loss of usual training, when it jumps.

Learning rates are tuned first: of a grid of 1, 2 and 5 times powers of ten, the rate at which usual
training reaches the lowest loss in its 60 epochs, the geometric mean over three seeds of their own.
The accelerator's defaults were chosen on other networks (``accelerator_defaults``). Then every way
of training starts from the same weights and sees the same minibatches; one epoch of each in turn,
so that whatever else the machine does slows all of them alike. The loss is that of the whole
training set, evaluated after every epoch outside the measured time; time is processor time of one
thread, with everything a way of training does of its own. Usual training's time is that of the
epoch in which it first has its best loss, everybody else's that of the first epoch with a loss at
or below that one; after 70 epochs they are given up.

    python -m studies.forecasting.acceleration     # about half an hour on one core
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from studies.families import FAMILIES
from studies.forecasting.accelerated import WAYS, Usual, Way
from studies.training import BATCH, evaluate, make_optimizer

RESULTS = Path(__file__).with_name("acceleration.csv")
EPOCHS, LONGEST = 60, 70
SEEDS, RATE_SEEDS = (1, 2, 3, 4, 5), (101, 102, 103)
RATES = {
    "sgd": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    "adam": (0.002, 0.005, 0.01, 0.02, 0.05),
}

#: Families of studies.plan, none of which was used to choose the accelerator's defaults.
KINDS = ("digits_residual", "diabetes_mlp", "digits_conv", "digits_attention", "grammar_gru")
#: Shown too: what becomes of the gain where the rate is a tenth of the best.
TIMID = ("digits_residual",)


@dataclass(frozen=True)
class Setting:
    """One network with its optimizer; ``factor`` on the tuned rate."""

    kind: str
    optimizer: str
    rate: float
    factor: float
    seed: int


@dataclass
class Course:
    """One way of training, epoch by epoch."""

    losses: list[float]
    seconds: list[float]
    held_out: list[float]

    def reached(self, target: float) -> int | None:
        """Return the first epoch (from 0) with a loss at or below the target."""
        at = np.flatnonzero(np.array(self.losses) <= target)
        return int(at[0]) if len(at) else None


class Training:
    """A network in training by one of the ways; advanced epoch by epoch."""

    def __init__(self, setting: Setting, way: Way) -> None:
        torch.manual_seed(setting.seed)
        self.task = FAMILIES[setting.kind].task()
        self.net: nn.Module = FAMILIES[setting.kind].network(0.0, False)
        rate = setting.rate * setting.factor
        self.optimizer = make_optimizer(self.net, setting.optimizer, rate, 0.0)
        self.generator = torch.Generator().manual_seed(setting.seed)
        self.course = Course([], [], [])
        began = time.process_time()
        self.way = way(self.net, self.optimizer)
        self.spent = time.process_time() - began

    def advance(self) -> None:
        began = time.process_time()
        total, batches = 0.0, len(self.task.x) // BATCH
        order = torch.randperm(len(self.task.x), generator=self.generator)
        for index in order[: batches * BATCH].split(BATCH):
            self.optimizer.zero_grad()
            loss = self.task.loss(self.net(self.task.x[index]), self.task.y[index])
            loss.backward()
            self.optimizer.step()
            self.way.after_step()
            total += float(loss.detach())
        self.way.after_epoch(total / batches)
        self.spent += time.process_time() - began
        with self.way.judged() as net:
            loss_now = evaluate(net, self.task, self.task.x, self.task.y)
            held_out = evaluate(net, self.task, self.task.x_val, self.task.y_val)
        self.course.losses.append(loss_now if math.isfinite(loss_now) else math.inf)
        self.course.held_out.append(held_out)
        self.course.seconds.append(self.spent)


def tuned_rate(kind: str, optimizer: str) -> float:
    """Return the rate at which usual training gets lowest; the geometric mean over seeds."""
    scores = {}
    for rate in RATES[optimizer]:
        best = []
        for seed in RATE_SEEDS:
            training = Training(Setting(kind, optimizer, rate, 1.0, seed), Usual)
            for _ in range(EPOCHS):
                training.advance()
                if math.isinf(training.course.losses[-1]):
                    break
            best.append(math.log(min(training.course.losses)))
        scores[rate] = float(np.mean(best))
    return min(scores, key=lambda rate: scores[rate])


def compared(setting: Setting) -> Iterator[dict[str, object]]:
    """Train by every way, and yield when each got to the best loss of usual training."""
    trainings = {name: Training(setting, way) for name, way in WAYS.items()}
    for _ in range(EPOCHS):
        for training in trainings.values():
            training.advance()
    usual = trainings["usual"].course
    target = min(usual.losses)
    for _ in range(EPOCHS, LONGEST):
        late = [t for t in trainings.values() if t.course.reached(target) is None]
        for training in late:
            training.advance()
    best = usual.reached(target)
    assert best is not None
    for name, training in trainings.items():
        at, course = training.course.reached(target), training.course
        kept, back, rejected = training.way.counts()
        yield {
            "kind": setting.kind,
            "optimizer": setting.optimizer,
            "rate": setting.rate,
            "factor": setting.factor,
            "seed": setting.seed,
            "way": name,
            "target": f"{target:.6g}",
            "usual_epochs": best + 1,
            "usual_seconds": f"{usual.seconds[best]:.4f}",
            "epochs": at + 1 if at is not None else "",
            "seconds": f"{course.seconds[at]:.4f}" if at is not None else "",
            "held_out_loss": f"{course.held_out[at]:.6g}" if at is not None else "",
            "lowest": f"{min(course.losses[:EPOCHS]):.6g}",
            "kept": kept,
            "rolled_back": back,
            "rejected": rejected,
        }


def settings() -> Iterator[Setting]:
    for kind in KINDS:
        for optimizer in RATES:
            rate = tuned_rate(kind, optimizer)
            print(f"{kind} {optimizer}: rate {rate:g}", flush=True)
            for seed in SEEDS:
                tuned = Setting(kind, optimizer, rate, 1.0, seed)
                yield tuned
                if kind in TIMID and optimizer == "sgd":
                    yield replace(tuned, factor=0.1)


def main() -> None:
    torch.set_num_threads(1)
    with open(RESULTS, "w", newline="") as file:
        writer = None
        for setting in settings():
            for row in compared(setting):
                if writer is None:
                    writer = csv.DictWriter(file, list(row), lineterminator="\n")
                    writer.writeheader()
                writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
