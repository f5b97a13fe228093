"""What nobody can forecast: the part of the motion that the order of the minibatches decides.

Each healthy run is trained again; at three moments a twin with the same weights and the same
optimizer state goes on with minibatches in another order. Half the squared distance between the two
after ten snapshots is the error that remains to whoever knows everything but that order.

    python -m studies.forecasting.twins
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from studies.forecasting import runs
from studies.training import Trainer

OUT = Path(__file__).with_name("twins.csv")
ORIGINS = (20, 35, 50)
AHEAD = 10


def weights(trainer: Trainer) -> np.ndarray:
    """Return all parameters in one float64 vector."""
    parts = [p.detach().double().reshape(-1) for p in trainer.net.parameters()]
    return torch.cat(parts).numpy()


def advance(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step(1.0)


def floors(run: runs.Healthy) -> Iterator[tuple[int, float]]:
    """Yield the moments of one run, and the error that is left, relative to no change."""
    trainer, every = runs.trained(run)
    done = 0
    for origin in ORIGINS:
        advance(trainer, (origin - done) * every)
        twin = copy.deepcopy(trainer)
        twin.generator.manual_seed(1000 + run.seed)
        twin.order = torch.empty(0, dtype=torch.int64)
        before = weights(trainer)
        for each in (trainer, twin):
            advance(each, AHEAD * every)
        done = origin + AHEAD
        apart = np.linalg.norm(weights(trainer) - weights(twin)) / np.sqrt(2.0)
        yield origin, float(apart / np.linalg.norm(weights(trainer) - before))


def main() -> None:
    torch.set_num_threads(1)
    with OUT.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("run", "held_out", "origin", "floor"))
        for run in runs.plan():
            if run.spacing:
                continue
            for origin, floor in floors(run):
                out.writerow((run.name, int(run.held_out), origin, f"{floor:.4f}"))
            print(run.name, flush=True)


if __name__ == "__main__":
    main()
