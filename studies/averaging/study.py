"""When does averaging the last snapshots help? ``python -m studies.averaging.study``.

Trains the recipes of the yardstick anew, averages the last snapshots at several moments, and writes
down the validation loss before and after next to the causal statistics of the weights. Runs that
are in the file are kept, so that it can be resumed.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.geometry import Geometry, course
from studies import tasks, training
from studies.families import FAMILIES
from studies.plan import HELD_OUT, TUNING, Recipe, recipes

RESULTS = Path(__file__).parent / "results.csv"

#: Where in the run the question is asked, as part of its snapshots.
MOMENTS = (0.3, 0.6, 1.0)

#: How many of the last snapshots are averaged.
COUNTS = (3, 5, 10, 20)

STATISTICS = (
    "cosine",
    "cosine_far",
    "directness",
    "recent_directness",
    "recent_share",
    "speed_trend",
)
COLUMNS = (
    "run",
    "family",
    "held_out",
    "schedule",
    "optimizer",
    "moment",
    "count",
    "first",
    "best",
    "last",
    "average",
    *STATISTICS,
)


def rows(recipe: Recipe) -> Iterator[dict[str, object]]:
    """Train a recipe and yield a row per moment and count."""
    seen = training.train_recipe(recipe)
    weights = seen.weights
    finite = [all(np.isfinite(v).all() for v in snapshot.values()) for snapshot in weights]
    usable = len(weights) if all(finite) else finite.index(False)
    if usable < 12:
        return
    family = FAMILIES[recipe.family]
    task = tasks.vary(family.task(), recipe.variant, recipe.seed)
    net = family.network(recipe.dropout, recipe.norm)
    trained = {name for name, _ in net.named_parameters()}
    flat = np.stack(
        [
            np.concatenate([snapshot[name].ravel() for name in snapshot if name in trained])
            for snapshot in weights[:usable]
        ]
    ).astype(np.float64)
    statistics = course(Geometry(gram_of(flat)))
    for moment in MOMENTS:
        t = int(np.ceil(moment * usable)) - 1
        if t < 11:
            continue
        last = loss_of(net, task, weights[t])
        for count in COUNTS:
            if count > t:
                continue
            average = loss_of(net, task, mean_of(weights[t + 1 - count : t + 1]))
            yield {
                "run": recipe.name,
                "family": recipe.family,
                "held_out": int(recipe.held_out),
                "schedule": recipe.schedule,
                "optimizer": recipe.optimizer,
                "moment": moment,
                "count": count,
                "first": seen.val_loss[0],
                "best": min(seen.val_loss[: t + 1]),
                "last": last,
                "average": average,
                **{name: float(statistics[name][t]) for name in STATISTICS},
            }


def mean_of(snapshots: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name: np.mean([each[name] for each in snapshots], axis=0, dtype=np.float64)
        for name in snapshots[0]
    }


def loss_of(net: nn.Module, task: tasks.Task, weights: dict[str, np.ndarray]) -> float:
    """Return the validation loss of these weights; batch norms get statistics of their own."""
    state = {
        name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in weights.items()
    }
    net.load_state_dict(state, strict=False)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    if norms:
        net.train()
        with torch.no_grad():
            net(task.x)
    return training.evaluate(net, task, task.x_val, task.y_val)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="train every so many recipes only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = set()
    if RESULTS.exists():
        with RESULTS.open() as file:
            done = {row["run"] for row in csv.DictReader(file)}
    columns = [recipes(family)[:: options.every] for family in (*TUNING, *HELD_OUT)]
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for recipe in (recipe for row in zip(*columns, strict=True) for recipe in row):
            if recipe.name in done:
                continue
            found = list(rows(recipe))
            for row in found:
                writer.writerow(
                    {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
                )
            file.flush()
            print(recipe.name, len(found), flush=True)


if __name__ == "__main__":
    main()
