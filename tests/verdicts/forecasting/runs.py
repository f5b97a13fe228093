"""The runs that forecasts are measured on: every family, trained healthily.

The yardstick's runs are short and half of them are spoiled on purpose; here every network starts
and learns as its family usually does, and is recorded once an epoch (8 to 12 minibatches) or once
in 40 minibatches. Families are split as in ``tests.verdicts.plan``: the second half was never tuned
on.

    python -m tests.verdicts.forecasting.runs --cache FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from koopscope.runs.native.recorder import Recorder
from tests.verdicts.plan import FAMILIES, HELD_OUT, TUNING
from tests.verdicts.training import BATCH, Trainer, make_optimizer

OPTIMIZERS = ("sgd", "momentum", "adam")
SEEDS = (1, 2)
SNAPSHOTS = 61

#: Minibatches from one snapshot to the next; 0 for an epoch.
SPACINGS = (0, 40)


@dataclass(frozen=True)
class Healthy:
    """One run: a family, at the rate that suits it and its optimizer."""

    family: str
    optimizer: str
    seed: int
    spacing: int

    @property
    def name(self) -> str:
        return f"{self.family}-{self.optimizer}-{self.seed}-{self.spacing or 'epoch'}"

    @property
    def held_out(self) -> bool:
        return self.family in HELD_OUT


def plan() -> list[Healthy]:
    """Return all runs, the tuning families' first."""
    return [
        Healthy(family, optimizer, seed, spacing)
        for family in (*TUNING, *HELD_OUT)
        for optimizer in OPTIMIZERS
        for seed in SEEDS
        for spacing in SPACINGS
    ]


def trained(run: Healthy) -> tuple[Trainer, int]:
    """Return the network of a run before its first step, and steps per snapshot."""
    torch.manual_seed(run.seed)
    family = FAMILIES[run.family]
    task = family.task()
    net = family.network(0.0, False)
    rate = family.rates[OPTIMIZERS.index(run.optimizer)]
    trainer = Trainer(net, task, make_optimizer(net, run.optimizer, rate, 0.0), run.seed)
    epoch = 1 if task.full_batch else -(-len(task.x) // BATCH)
    return trainer, run.spacing or max(epoch, family.steps_per_snapshot)


def recorded(run: Healthy, cache: Path) -> Path:
    """Return the run's file, trained and recorded where it is not there yet."""
    path = cache / f"{run.name}.h5"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    trainer, every = trained(run)
    course = trainer.train("constant", SNAPSHOTS, every, budgets=1)
    draft = path.with_suffix(".part")
    draft.unlink(missing_ok=True)
    with Recorder(draft) as recorder:
        for step, loss, weights in zip(
            course.steps, course.train_loss, course.weights, strict=False
        ):
            recorder.snapshot(
                step, {n: torch.from_numpy(w) for n, w in weights.items()}, train_loss=loss
            )
    draft.rename(path)
    return path


def files(cache: Path) -> Iterator[tuple[Healthy, Path]]:
    """Yield every run with its file."""
    for run in plan():
        yield run, recorded(run, cache)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    torch.set_num_threads(1)
    for _, path in files(parser.parse_args().cache):
        print(path.name, flush=True)


if __name__ == "__main__":
    main()
