"""One deterministic training loop: a recipe goes in, snapshots of weights and metrics come out.

It writes no file. Import it before torch: it pins the arithmetic to kernels that do not depend on
the processor's instruction set, which torch reads from the environment once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("ATEN_CPU_CAPABILITY", "default")
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

import torch
from torch import Tensor, nn

from sample_runs.networks import INITIALIZATIONS, NETWORKS
from sample_runs.tasks import Task, load_task

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.backends.mkldnn.enabled = False


@dataclass(frozen=True)
class Recipe:
    """All that determines a sample run.

    Attributes
    ----------
    name
        The file is ``<name>.h5``.
    truth
        What is true of the run, in one sentence.
    task, network, optimizer
        Names known to ``tasks``, ``networks`` and ``torch.optim``, with their keywords.
    steps, every
        Optimizer steps to take, and how many lie between two snapshots.
    schedule
        ``constant``, ``warmup`` (linear over the first tenth), ``cosine`` (down to zero), ``drop``
        (a tenth from two thirds on), ``burst`` (twenty times for two steps) or ``mistake``
        (fifty times for a thirtieth of the run).
    frozen
        Tensors that are not trained, by how their names begin.
    stored
        The dtype of the snapshots, not of the training.
    variations
        Other trainings that show the truth: a name and the fields that differ. They are measured
        and not recorded.
    """

    name: str
    truth: str
    network: tuple[str, dict[str, Any]]
    optimizer: tuple[str, dict[str, Any]]
    steps: int
    every: int
    task: str = "digits"
    batch: int = 32
    seed: int = 1
    initialization: str = "default"
    schedule: str = "constant"
    stored: str = "float32"
    frozen: tuple[str, ...] = ()
    variations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def varied(self, name: str) -> Recipe:
        """Return the variation of that name as a recipe of its own."""
        return replace(self, **self.variations[name], variations={})


@dataclass(frozen=True)
class Snapshot:
    """The network after ``step`` optimizer steps; the weights are a copy."""

    step: int
    weights: dict[str, Tensor]
    metrics: dict[str, float]


def train(recipe: Recipe) -> Iterator[Snapshot]:
    """Train, yielding the initial network and then one snapshot every ``recipe.every`` steps."""
    task = load_task(recipe.task)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe, task)
    kind, options = recipe.optimizer
    optimizer = getattr(torch.optim, kind)(network.parameters(), **options)
    batches = draw_batches(len(task.inputs), recipe.batch, recipe.seed)
    for step in range(recipe.steps + 1):
        rate = options["lr"] * rate_factor(recipe.schedule, step, recipe.steps)
        if step % recipe.every == 0:
            yield take_snapshot(recipe, task, network, step, rate)
        optimizer.param_groups[0]["lr"] = rate
        chosen = next(batches)
        optimizer.zero_grad()
        task.loss(network(task.inputs[chosen]), task.targets[chosen]).backward()
        optimizer.step()


def build_network(recipe: Recipe, task: Task) -> nn.Module:
    kind, options = recipe.network
    network = NETWORKS[kind](task.shape, task.outputs, **options)
    with torch.no_grad():
        INITIALIZATIONS[recipe.initialization](network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(recipe.frozen or ("-",)))
    return network


def draw_batches(samples: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Yield index batches for ever: a fresh permutation per epoch, its incomplete rest dropped."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(samples, generator=generator)
        yield from order[: samples // batch * batch].split(batch)


def rate_factor(schedule: str, step: int, steps: int) -> float:
    """Return the share of the full learning rate that the step after ``step`` uses."""
    if schedule == "warmup":
        return min(1.0, (step + 1) / (0.1 * steps))
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule == "drop":
        return 1.0 if 3 * step < 2 * steps else 0.1
    if schedule == "burst":
        return 20.0 if 0 <= step - steps // 2 < 2 else 1.0
    if schedule == "mistake":
        return 50.0 if 0 <= step - 3 * steps // 5 < steps // 30 else 1.0
    return 1.0


def take_snapshot(
    recipe: Recipe, task: Task, network: nn.Module, step: int, rate: float
) -> Snapshot:
    """Copy the weights and evaluate the network on the whole training and validation set."""
    network.eval()
    with torch.no_grad():
        fitted = network(task.inputs)
        predicted = network(task.val_inputs)
        metrics = {
            "loss": task.loss(fitted, task.targets).item(),
            "val_loss": task.loss(predicted, task.val_targets).item(),
        }
        if task.is_classification:
            metrics["accuracy"] = share_correct(fitted, task.targets)
            metrics["val_accuracy"] = share_correct(predicted, task.val_targets)
    network.train()
    dtype = getattr(torch, recipe.stored)
    weights = {
        name: tensor.to(dtype, copy=True) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in network.state_dict().items()
    }
    return Snapshot(step, weights, {**metrics, "lr": rate})


def share_correct(predicted: Tensor, targets: Tensor) -> float:
    return (predicted.argmax(dim=1) == targets).double().mean().item()
