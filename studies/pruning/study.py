"""Prune real networks by every criterion and measure what is left of their accuracy.

Six kinds of networks, three seeds each. A mask is taken at 15, 30 and 100% of training, from the
snapshots up to then, and applied to the weights of that moment: accuracy on held-out data right
after, and after the same short training on with the mask held. The same mask is also applied to the
weights at the end of training. All masks are global, single weights, made by koopscope itself; the
average of the weights (EMA), a baseline that koopscope does not offer, is ranked here.

    python -m studies.pruning.study --cache FOLDER --out studies/pruning/results.csv
"""

from __future__ import annotations

import argparse
import copy
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.choices import RECENT
from koopscope.pruning.criteria import CRITERIA
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from studies import tasks
from studies.families import FAMILIES
from studies.plan import PACES
from studies.training import Trainer, make_optimizer

#: Kind of network -> optimizer, at the rate that suits the family.
KINDS = {
    "digits_mlp": "momentum",
    "digits_conv": "momentum",
    "digits_residual": "adam",
    "digits_attention": "adam",
    "marker_recurrent": "adam",
    "community_graph": "adam",
}
SEEDS = (1, 2, 3)
SNAPSHOTS = 81
TIMES = (0.15, 0.30, 1.0)
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
#: Share of the training steps that a pruned network is trained on.
TUNING = 0.15
EMA = "ema-magnitude"
EMA_DECAY = 0.9
COLUMNS = ("kind", "seed", "at", "sparsity", "criterion", "overlap_now", "overlap_end")
COLUMNS += ("dense", "right_after", "tuned", "on_final")

Masks = dict[str, np.ndarray]


@dataclass
class Network:
    """A trained network: its recorded run, and all that training it on takes."""

    kind: str
    seed: int
    path: Path
    net: nn.Module
    task: tasks.Task
    every: int

    def snapshot(self, index: int) -> dict[str, Tensor]:
        with open_run(self.path) as run:
            rows = {b.tensor.name: b.values[index].copy() for b in run.blocks()}
            shapes = {tensor.name: tensor.shape for tensor in run.description.tensors}
        return {n: torch.from_numpy(row.reshape(shapes[n])) for n, row in rows.items()}

    def loaded(self, weights: dict[str, Tensor], masks: Masks | None = None) -> nn.Module:
        net = copy.deepcopy(self.net)
        net.load_state_dict(weights, strict=False)
        if masks is not None:
            hold(net, masks)
        return net

    def optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        name = KINDS[self.kind]
        rate = PACES[self.kind].rates[{"sgd": 0, "momentum": 1}.get(name, 2)]
        return make_optimizer(net, name, rate, 0.0)


def trained(kind: str, seed: int, cache: Path) -> Network:
    """Train a network, or read back the run of an earlier training."""
    torch.manual_seed(seed)
    family = FAMILIES[kind]
    task = family.task()
    net = family.network(0.0, False)
    every = PACES[kind].steps_per_snapshot
    network = Network(kind, seed, cache / f"{kind}-{seed}.h5", net, task, every)
    if not network.path.exists():
        learner = copy.deepcopy(net)
        trainer = Trainer(learner, task, network.optimizer(learner), seed)
        course = trainer.train("constant", SNAPSHOTS, every, budgets=1)
        scratch = network.path.with_suffix(".part.h5")
        scratch.unlink(missing_ok=True)
        with Recorder(scratch) as recorder:
            for step, weights in zip(course.steps, course.weights, strict=False):
                recorder.snapshot(step, weights)
        scratch.rename(network.path)
    return network


@torch.no_grad()
def accuracy(net: nn.Module, task: tasks.Task) -> float:
    net.eval()
    counted = task.y_val >= 0
    right = (net(task.x_val).argmax(-1) == task.y_val)[counted]
    net.train()
    return float(right.float().mean())


@torch.no_grad()
def hold(net: nn.Module, masks: Masks) -> None:
    for name, parameter in net.named_parameters():
        if name in masks:
            parameter.mul_(torch.from_numpy(masks[name]))


def tuned(network: Network, net: nn.Module, masks: Masks) -> nn.Module:
    """Train on for a short while with a fresh optimizer; every mask gets the same batches."""
    trainer = Trainer(net, network.task, network.optimizer(net), network.seed + 1000)
    for _ in range(round(TUNING * (SNAPSHOTS - 1) * network.every)):
        trainer.step(1.0)
        hold(net, masks)
    return net


def masks_at(
    network: Network, index: int, snapshots: int, criteria: Sequence[str]
) -> Iterator[tuple[str, float, Masks]]:
    """Yield (criterion, sparsity, masks) of every criterion, EMA last."""
    step = index * network.every
    with open_run(network.path) as run:
        for name in criteria:
            if name == EMA:
                continue
            settings = PruningSettings(name, step, snapshots=snapshots, seed=network.seed)
            basis = pruning_basis(run, settings)
            with Pruner(run, basis, settings) as pruner:
                for sparsity in SPARSITIES:
                    yield name, sparsity, whole(pruner, MaskRequest(sparsity))
        if EMA not in criteria:
            return
        names = {p.tensor.name for p in basis.prunable}
        ages = np.arange(index, -1, -1)
        weighting = EMA_DECAY**ages / (EMA_DECAY**ages).sum()
        tensors = [t for t in run.description.tensors if t.name in names]
        average = {
            b.tensor.name: np.abs(weighting @ b.values[: index + 1]) for b in run.blocks(tensors)
        }
        shapes = {t.name: t.shape for t in tensors}
    scores = np.sort(np.concatenate(list(average.values())))
    for sparsity in SPARSITIES:
        threshold = scores[round(sparsity * len(scores))]
        yield EMA, sparsity, {n: (a >= threshold).reshape(shapes[n]) for n, a in average.items()}


def whole(pruner: Pruner, request: MaskRequest) -> Masks:
    return {
        target.tensor.name: np.concatenate(list(pruner.mask(request, target))).reshape(
            target.tensor.shape
        )
        for target in pruner.targets(request)
    }


def overlap(masks: Masks, others: Masks) -> float:
    both = sum((mask & others[name]).sum() for name, mask in masks.items())
    return float(both / sum(mask.sum() for mask in masks.values()))


def rows(network: Network, snapshots: int, criteria: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Yield one row per time, criterion and sparsity, in the order of ``COLUMNS``."""
    final = network.snapshot(SNAPSHOTS - 1)
    found = {
        at: list(masks_at(network, round(at * (SNAPSHOTS - 1)), snapshots, criteria))
        for at in TIMES
    }
    usual = {(at, s): masks for at in TIMES for name, s, masks in found[at] if name == "magnitude"}
    for at in TIMES:
        weights = network.snapshot(round(at * (SNAPSHOTS - 1)))
        dense = accuracy(network.loaded(weights), network.task)
        for name, sparsity, masks in found[at]:
            net = network.loaded(weights, masks)
            right_after = accuracy(net, network.task)
            on_final = accuracy(network.loaded(final, masks), network.task)
            after = accuracy(tuned(network, net, masks), network.task)
            shares = overlap(masks, usual[at, sparsity]), overlap(masks, usual[TIMES[-1], sparsity])
            values = (*shares, dense, right_after, after, on_final)
            yield (network.kind, network.seed, at, sparsity, name, *(f"{v:.4f}" for v in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="where trainings are kept")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", action="append", choices=tuple(KINDS))
    parser.add_argument("--seed", action="append", type=int, choices=SEEDS)
    parser.add_argument("--snapshots", type=int, default=RECENT, help="that a criterion rests on")
    parser.add_argument(
        "--criterion",
        action="append",
        choices=(*CRITERIA, EMA),
        help="only these, beside magnitude, which all are held against",
    )
    options = parser.parse_args()
    criteria = [
        "magnitude",
        *(options.criterion or [c for c in (*CRITERIA, EMA) if c != "magnitude"]),
    ]
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for kind in options.kind or KINDS:
            for seed in options.seed or SEEDS:
                began = time.process_time()
                network = trained(kind, seed, options.cache)
                table.writerows(rows(network, options.snapshots, criteria))
                file.flush()
                print(f"{kind} {seed}: {time.process_time() - began:.1f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
