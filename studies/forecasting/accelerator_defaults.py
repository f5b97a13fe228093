"""How the accelerator's defaults were chosen: one option at a time, on networks of their own.

Epochs to the best training loss of usual training at its tuned rate, as in ``acceleration``.

    python -m studies.forecasting.accelerator_defaults     # five minutes on one core
"""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from studies.forecasting.accelerated import Koopman, Usual, Way
from studies.forecasting.acceleration import (
    EPOCHS,
    LONGEST,
    Setting,
    Training,
    tuned_rate,
)

RESULTS = Path(__file__).with_name("accelerator_defaults.csv")
NETWORKS = (
    ("digits_mlp", "sgd"),
    ("digits_mlp", "adam"),
    ("curve_mlp", "sgd"),
    ("grammar_transformer", "sgd"),
    ("marker_recurrent", "adam"),
)
SEEDS = (11, 12, 13)
OPTIONS: dict[str, dict[str, float | str]] = {
    "defaults": {},
    "horizon=5": {"horizon": 5},
    "horizon=20": {"horizon": 20},
    "snapshots=4": {"snapshots": 4},
    "snapshots=8": {"snapshots": 8},
    "every=2": {"every": 2},
    'accept="sign"': {"accept": "sign"},
    'accept="none"': {"accept": "none"},
    'operator="layer"': {"operator": "layer"},
    'observable="weights"': {"observable": "weights"},
    'optimizer_state="clear"': {"optimizer_state": "clear"},
}


def trained(setting: Setting, way: Way, target: float | None) -> list[float]:
    """Return the losses, up to the target if there is one."""
    training = Training(setting, way)
    losses = training.course.losses
    for _ in range(EPOCHS if target is None else LONGEST):
        training.advance()
        if target is not None and losses[-1] <= target:
            break
    return losses


def main() -> None:
    torch.set_num_threads(1)
    saved: dict[str, list[float]] = defaultdict(list)
    with open(RESULTS, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "optimizer", "rate", "seed", "options", "usual", "epochs"])
        for network, optimizer in NETWORKS:
            rate = tuned_rate(network, optimizer)
            for seed in SEEDS:
                setting = Setting(network, optimizer, rate, 1.0, seed)
                usual = trained(setting, Usual, None)
                target = min(usual)
                best = usual.index(target) + 1
                for name, options in OPTIONS.items():
                    losses = trained(setting, partial(Koopman, **options), target)
                    epochs = len(losses) if losses[-1] <= target else ""
                    writer.writerow([network, optimizer, rate, seed, name, best, epochs])
                    # What is not reached counts as the epochs after which it was given up.
                    saved[name].append(1.0 - len(losses) / best)
                file.flush()
    for name, parts in saved.items():
        print(f"{name}: {100 * fmean(parts):.0f}% of the epochs saved")


if __name__ == "__main__":
    main()
