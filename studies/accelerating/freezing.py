"""What freezing layers at rest saves, and what it does to the loss.

python -m studies.accelerating.freezing     # two minutes on one core
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import torch

from koopscope.integrations.torch.resting import RestingLayers
from studies.accelerating.networks import NETWORKS
from studies.accelerating.study import TUNED
from studies.accelerating.training import _loss
from studies.training import make_optimizer, rate_at

RESULTS = Path(__file__).with_name("freezing.csv")
CASES = (
    ("digits_mlp", "adam", "constant"),
    ("digits_mlp", "sgd", "cosine"),
    ("digits_coder_131k", "adam", "cosine"),
    ("grammar_transformer", "adam", "cosine"),
)
SEEDS = (21, 22)
#: Budgets of plain training: rest comes late.
BUDGETS = 2


def course(
    kind: str, optimizer_name: str, rate: float, schedule: str, seed: int, freeze: bool
) -> dict[str, Any]:
    """Train, and return losses, processor seconds and the weights' gradients that were saved."""
    network = NETWORKS[kind]
    torch.manual_seed(seed)
    task, net = network.task(), network.make()
    optimizer = make_optimizer(net, optimizer_name, rate, 0.0)
    resting = RestingLayers(net) if freeze else None
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    epochs = BUDGETS * network.epochs
    weights = sum(p.numel() for p in net.parameters())
    spent, saved = 0.0, 0.0
    for epoch in range(epochs):
        began = time.process_time()
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(schedule, epoch, epochs)
        frozen = sum(p.numel() for p in net.parameters() if not p.requires_grad)
        saved += frozen / weights / epochs
        for _ in range(network.steps):
            if len(order) < network.batch:
                order = torch.randperm(len(task.x), generator=generator)
            index, order = order[: network.batch], order[network.batch :]
            optimizer.zero_grad()
            loss = task.loss(net(task.x[index]), task.y[index])
            loss.backward()
            optimizer.step()
        if resting is not None:
            resting.freeze()
        spent += time.process_time() - began
    return {
        "network": kind,
        "optimizer": optimizer_name,
        "schedule": schedule,
        "seed": seed,
        "freeze": int(freeze),
        "frozen": "+".join(resting.frozen) if resting else "",
        "gradients_saved": f"{saved:.4f}",
        "seconds": f"{spent:.4f}",
        "loss": f"{_loss(net, task, task.x, task.y):.6g}",
        "held_out": f"{_loss(net, task, task.x_val, task.y_val):.6g}",
    }


def main() -> None:
    torch.set_num_threads(1)
    with open(TUNED, newline="") as file:
        rates = {
            (r["network"], r["optimizer"]): float(r["rate"])
            for r in csv.DictReader(file)
            if r["for"] == "plain"
        }
    with open(RESULTS, "w", newline="") as file:
        writer = None
        for kind, optimizer, schedule in CASES:
            for seed in SEEDS:
                for freeze in (False, True):
                    row = course(kind, optimizer, rates[kind, optimizer], schedule, seed, freeze)
                    if writer is None:
                        writer = csv.DictWriter(file, list(row), lineterminator="\n")
                        writer.writeheader()
                    writer.writerow(row)
                    file.flush()


if __name__ == "__main__":
    main()
