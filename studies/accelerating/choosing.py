"""How the defaults of jumps with a look were chosen: one option at a time, on the tuning networks.

Part of plain training's gradient evaluations that is saved until its best training loss is
reached, seeds of their own.

    python -m studies.accelerating.choosing     # ten minutes on one core

Rows that are in the file are kept: it can be resumed.
"""

from __future__ import annotations

import argparse
import csv
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from studies.accelerating.networks import NETWORKS
from studies.accelerating.study import RATES, TUNED
from studies.accelerating.training import trained
from studies.accelerating.ways import Looking, Straight, Way

RESULTS = Path(__file__).with_name("choosing.csv")
SEEDS = (11, 12)
LONGEST = 1.1
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "average=0": {"average": 0.0},
    'optimizer_state="rescale"': {"optimizer_state": "rescale"},
    'optimizer_state="clear"': {"optimizer_state": "clear"},
    "tries=1": {"tries": 1},
    "tries=3": {"tries": 3},
    "average=0.8": {"average": 0.8},
    "average=0.95": {"average": 0.95},
}
COLUMNS = ("network", "optimizer", "seed", "options", "plain_cost", "cost")


def rows(kind: str, optimizer: str, rate: float, seed: int) -> list[dict[str, object]]:
    """Return what every option costs until plain training's best loss; empty where it fails."""
    plain = trained(kind, optimizer, rate, seed, Way).courses["itself"]
    target = min(plain.loss)
    found: list[dict[str, object]] = []
    ways = {"straight jumps, no look": Straight} | {
        name: partial(Looking, **options) for name, options in OPTIONS.items()
    }
    for name, make in ways.items():
        other = trained(kind, optimizer, rate, seed, make, LONGEST, target).courses["itself"]
        cost = other.reached(target)
        found.append(
            {
                "network": kind,
                "optimizer": optimizer,
                "seed": seed,
                "options": name,
                "plain_cost": f"{plain.reached(target):.6g}",
                "cost": "" if cost is None else f"{cost:.6g}",
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    workers = parser.parse_args().workers
    with open(TUNED, newline="") as file:
        rates = {
            (row["network"], row["optimizer"]): float(row["rate"])
            for row in csv.DictReader(file)
            if row["for"] == "plain"
        }
    done: set[tuple[str, str, str]] = set()
    if RESULTS.exists():
        with open(RESULTS, newline="") as file:
            done = {(r["network"], r["optimizer"], r["seed"]) for r in csv.DictReader(file)}
    settings = [
        (kind, optimizer, rates[kind, optimizer], seed)
        for seed in SEEDS
        for kind, network in NETWORKS.items()
        for optimizer in RATES
        if network.tuning and (kind, optimizer, str(seed)) not in done
    ]
    fresh = not RESULTS.exists()
    with (
        open(RESULTS, "a", newline="") as file,
        ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        for setting, made in zip(
            settings, pool.map(rows, *zip(*settings, strict=True)), strict=True
        ):
            writer.writerows(made)
            file.flush()
            print(setting, flush=True)


if __name__ == "__main__":
    main()
