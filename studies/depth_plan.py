"""Depth sweeps: the same task learned by networks of one to eight layers, three seeds each.

The smallest depth within noise of the best is measured over the seeds. As with the runs, whole
tasks are held out, fixed before any score was looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from studies import networks, tasks, training
from studies.yardstick import data, larger

DEPTHS = tuple(range(1, 9))
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Sweep:
    """A task and the network of a given depth that learns it."""

    task: Callable[[], tasks.Task]
    network: Callable[[int], nn.Module]
    rate: float = 3e-3
    every: int = 8


def _mlp(inputs: int, width: int, outputs: int, act: type[nn.Module]) -> Callable[[int], nn.Module]:
    return lambda depth: networks.mlp([inputs, *[width] * depth, outputs], act)


TUNING: dict[str, Sweep] = {
    "digits_mlp": Sweep(tasks.digits, _mlp(64, 16, 10, nn.ReLU)),
    "curve_mlp": Sweep(tasks.curve, _mlp(1, 16, 1, nn.Tanh), 5e-3, 12),
    "sawtooth_mlp": Sweep(tasks.sawtooth, _mlp(1, 8, 1, nn.ReLU), 5e-3, 12),
    "cancer_mlp": Sweep(tasks.cancer, _mlp(30, 12, 2, nn.ReLU), 2e-3),
    "reconstruction_residual": Sweep(
        tasks.digits_reconstruction,
        lambda depth: networks.Residual((64, 12, 64), depth, 0.0, False),
    ),
    "hops2_graph": Sweep(
        lambda: tasks.hops(2), lambda depth: networks.GraphNetwork(2, 12, 3, depth), 5e-3, 4
    ),
    "pattern3_conv": Sweep(
        lambda: tasks.far_pattern(3), lambda depth: networks.ConvSeries(depth, 10, 2, True), 5e-3, 6
    ),
    "grammar_transformer": Sweep(
        lambda: tasks.grammar(3, 37),
        lambda depth: networks.Transformer((10, 12, 10), 12, depth, True),
        5e-3,
        4,
    ),
}
HELD_OUT: dict[str, Sweep] = {
    "digits_residual": Sweep(
        tasks.digits, lambda depth: networks.Residual((64, 12, 10), depth, 0.0, False)
    ),
    "diabetes_mlp": Sweep(tasks.diabetes, _mlp(10, 12, 1, nn.ReLU)),
    "friedman_mlp": Sweep(tasks.friedman, _mlp(8, 12, 1, nn.ReLU), 5e-3),
    "iterated_map_mlp": Sweep(tasks.iterated_map, _mlp(1, 10, 1, nn.Tanh), 5e-3, 12),
    "spirals_mlp": Sweep(tasks.spirals, _mlp(2, 12, 3, nn.ReLU), 5e-3, 12),
    "parity_mlp": Sweep(tasks.parity, _mlp(8, 10, 2, nn.ReLU), 5e-3, 12),
    "hops4_graph": Sweep(
        lambda: tasks.hops(4), lambda depth: networks.GraphNetwork(2, 12, 3, depth), 5e-3, 4
    ),
    "pattern5_conv": Sweep(
        lambda: tasks.far_pattern(5), lambda depth: networks.ConvSeries(depth, 10, 2, True), 5e-3, 6
    ),
    "waves_conv": Sweep(
        tasks.waves, lambda depth: networks.ConvSeries(depth, 10, 4, False), 5e-3, 6
    ),
    "digits_attention": Sweep(
        tasks.digit_rows, lambda depth: networks.Transformer((8, 10, 10), 8, depth, False), 4e-3, 5
    ),
    "hops3_graph": Sweep(
        lambda: tasks.hops(3), lambda depth: networks.GraphNetwork(2, 12, 3, depth), 5e-3, 4
    ),
    "pattern4_conv": Sweep(
        lambda: tasks.far_pattern(4), lambda depth: networks.ConvSeries(depth, 10, 2, True), 5e-3, 6
    ),
    "wine_mlp": Sweep(data.wine, _mlp(13, 10, 3, nn.Tanh)),
    "teacher_residual": Sweep(
        larger.wide_teacher, lambda depth: networks.Residual((24, 12, 4), depth, 0.0, False)
    ),
}
SWEEPS = {**TUNING, **HELD_OUT}
SNAPSHOTS = 51


@dataclass(frozen=True)
class Recipe:
    """One run of a sweep."""

    name: str
    sweep: str
    depth: int
    seed: int


def all_recipes() -> list[Recipe]:
    """Return every run of every sweep, the tuning sweeps first, seed by seed."""
    return [
        Recipe(f"{sweep}-s{seed}-d{depth}", sweep, depth, seed)
        for side in (TUNING, HELD_OUT)
        for seed in SEEDS
        for sweep in side
        for depth in DEPTHS
    ]


def train(recipe: Recipe) -> training.Course:
    """Train one run of a sweep, with Adam at a constant rate."""
    torch.manual_seed(100 + recipe.seed)
    sweep = SWEEPS[recipe.sweep]
    net = sweep.network(recipe.depth)
    optimizer = training.make_optimizer(net, "adam", sweep.rate, 0.0)
    trainer = training.Trainer(net, sweep.task(), optimizer, 100 + recipe.seed)
    return trainer.train("constant", SNAPSHOTS, sweep.every, budgets=1)
