"""What every way of training faster needs to reach the best loss of plain training.

The learning rate is tuned first, by plain training alone: of a grid of 1 and 3 times powers of ten
(1, 2 and 5 times on the tuning networks) the one with the lowest training loss, for a seed of its
own; schedule-free gets a rate of its own, the plain one or three times as much. Then every way
starts from the same weights and sees the same minibatches, and trains until it has spent as many
gradient evaluations as plain training's budget and a tenth more; a forward pass of its own counts
as a third. Seeds come one after the other over all networks, so that a study that is ended early
has all of them.

    PYTHONPATH=DIR python -m studies.accelerating.study   # DIR holds schedulefree; half an hour

Rows that are in the file are kept: it can be resumed.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from statistics import fmean

import torch

from studies.accelerating.networks import NETWORKS
from studies.accelerating.training import Course, Trained, trained
from studies.accelerating.ways import WAYS, ScheduleFree, Way

RESULTS = Path(__file__).with_name("results.csv")
TUNED = Path(__file__).with_name("rates.csv")
SEEDS, RATE_SEEDS = (1, 2, 3, 4, 5), (101,)
RATES = {
    "sgd": (0.1, 0.3, 1.0, 3.0),
    "adam": (0.001, 0.003, 0.01, 0.03),
}
FINER = {
    "sgd": (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
    "adam": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
}
#: Budgets of plain training that every way may spend.
LONGEST = 1.1

COLUMNS = (
    "network",
    "tuning",
    "optimizer",
    "rate",
    "seed",
    "way",
    "target",
    "plain_cost",
    "cost",
    "lowest",
    "held_out_at_target",
    "held_out_at_end",
    "held_out_best",
    "seconds",
    "forwards",
    "kept",
    "rolled_back",
    "rejected",
)

Key = tuple[str, str, str, str]


def tuned_rate(kind: str, optimizer: str, make: type[Way], grid: Sequence[float]) -> float:
    """Return the rate with the lowest training loss."""
    scores: dict[float, float] = {}
    for rate in grid:
        lowest = []
        for seed in RATE_SEEDS:
            course = trained(kind, optimizer, rate, seed, make).courses["itself"]
            lowest.append(math.log(max(min(course.loss), 1e-12)))
        scores[rate] = fmean(lowest)
        if scores[rate] > min(scores.values()) + math.log(4.0):
            break  # far beyond the best one already
    return min(scores, key=lambda rate: scores[rate])


def rates_of(kind: str, optimizer: str, plain: float | None) -> dict[tuple[str, str, str], float]:
    """Return the tuned rates of a network, for plain training and for schedule-free."""
    grid = RATES[optimizer]
    if NETWORKS[kind].tuning:
        grid = FINER[optimizer]
    if plain is None:
        plain = tuned_rate(kind, optimizer, Way, grid)
    own = tuned_rate(kind, optimizer, ScheduleFree, (plain, 3.0 * plain))
    return {(kind, optimizer, "plain"): plain, (kind, optimizer, "schedule_free"): own}


def rates(pool: Executor) -> dict[tuple[str, str, str], float]:
    """Return the tuned rates by network, optimizer and kind, and keep them in a file."""
    found: dict[tuple[str, str, str], float] = {}
    if TUNED.exists():
        with open(TUNED, newline="") as file:
            found = {
                (row["network"], row["optimizer"], row["for"]): float(row["rate"])
                for row in csv.DictReader(file)
            }
    missing = [
        (kind, optimizer, found.get((kind, optimizer, "plain")))
        for kind in NETWORKS
        for optimizer in RATES
        if (kind, optimizer, "schedule_free") not in found
    ]
    for rates_found in pool.map(rates_of, *zip(*missing, strict=True)) if missing else ():
        found = rates_found | found
        _write_rates(found)
        print(rates_found, flush=True)
    return found


def _write_rates(found: dict[tuple[str, str, str], float]) -> None:
    with open(TUNED, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "optimizer", "for", "rate"])
        writer.writerows((*key, rate) for key, rate in found.items())


def compared(
    kind: str, optimizer: str, seed: int, rate: float, own_rate: float
) -> Iterator[dict[str, object]]:
    """Train by every way, and yield when each got to the best loss of plain training."""
    budget = NETWORKS[kind].epochs * NETWORKS[kind].steps
    plain = trained(kind, optimizer, rate, seed, WAYS["plain"], LONGEST)
    own = plain.courses["itself"]
    target = min(loss for cost, loss in zip(own.cost, own.loss, strict=True) if cost <= budget)
    facts = {
        "network": kind,
        "tuning": int(NETWORKS[kind].tuning),
        "optimizer": optimizer,
        "seed": seed,
        "target": f"{target:.6g}",
        "plain_cost": f"{own.reached(target):.6g}",
    }
    for name, course in plain.courses.items():
        shown = "plain" if name == "itself" else name
        yield facts | {"way": shown, "rate": rate} | _outcome(plain, course, target, budget)
    for name, make in WAYS.items():
        if name == "plain":
            continue
        used = own_rate if name == "schedule_free" else rate
        other = trained(kind, optimizer, used, seed, make, LONGEST)
        outcome = _outcome(other, other.courses["itself"], target, budget)
        yield facts | {"way": name, "rate": used} | outcome


def _outcome(done: Trained, course: Course, target: float, budget: float) -> dict[str, object]:
    at = course.reached(target)
    inside = [i for i, cost in enumerate(course.cost) if cost <= budget + 1e-6]
    kept, back, rejected = done.counts
    return {
        "cost": "" if at is None else f"{at:.6g}",
        "lowest": f"{min(course.loss[i] for i in inside):.6g}",
        "held_out_at_target": "" if at is None else f"{course.held_out[course.cost.index(at)]:.6g}",
        "held_out_at_end": f"{course.held_out[inside[-1]]:.6g}",
        "held_out_best": f"{min(course.held_out[i] for i in inside):.6g}",
        "seconds": f"{done.seconds / len(course.cost):.5f}",
        "forwards": f"{done.way.forwards:.4g}",
        "kept": kept,
        "rolled_back": back,
        "rejected": rejected,
    }


def done_already() -> set[tuple[str, str, str]]:
    """Return the networks, optimizers and seeds of which every way is in the file."""
    if not RESULTS.exists():
        return set()
    with open(RESULTS, newline="") as file:
        found = [(row["network"], row["optimizer"], row["seed"]) for row in csv.DictReader(file)]
    ways = len(WAYS) + 3  # the averages of the plain training
    return {key for key in found if found.count(key) == ways}


def _rows(arguments: tuple[str, str, int, float, float]) -> list[dict[str, object]]:
    return list(compared(*arguments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    workers = parser.parse_args().workers
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        tuned, done = rates(pool), done_already()
        fresh = not RESULTS.exists()
        settings = [
            (kind, optimizer, seed, tuned[kind, optimizer, "plain"], own)
            for seed in SEEDS
            for kind in NETWORKS
            for optimizer in RATES
            for own in [tuned[kind, optimizer, "schedule_free"]]
            if (kind, optimizer, str(seed)) not in done
        ]
        with open(RESULTS, "a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if fresh:
                writer.writeheader()
            for setting, rows in zip(settings, pool.map(_rows, settings), strict=True):
                writer.writerows(rows)
                file.flush()
                print(setting, flush=True)


if __name__ == "__main__":
    main()
