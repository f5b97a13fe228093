"""Small tasks that real networks learn in a second or two: bundled data sets and synthesized data.

Nothing is downloaded; a task is fully determined by its name and its variant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn


@dataclass(frozen=True)
class Task:
    """Training and validation data with the loss that compares a network's output to the target."""

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]
    full_batch: bool = False


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.mse_loss(output, target)


def _split(x: np.ndarray, y: np.ndarray, train: int, loss: Callable[..., Tensor]) -> Task:
    order = np.random.default_rng(7).permutation(len(x))
    x_all = torch.as_tensor(x[order], dtype=torch.int64 if x.dtype.kind == "i" else torch.float32)
    y_all = torch.as_tensor(y[order], dtype=torch.int64 if y.dtype.kind == "i" else torch.float32)
    stop = train + 256
    return Task(x_all[:train], y_all[:train], x_all[train:stop], y_all[train:stop], loss)


def _standardized(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / (x.std(0) + 1e-9)


def digits(as_image: bool = False, train: int = 256) -> Task:
    x, y = datasets.load_digits(return_X_y=True)
    x = x / 8.0 - 1.0
    return _split(
        x.reshape(-1, 1, 8, 8) if as_image else x, y.astype(np.int64), train, cross_entropy
    )


def digit_rows() -> Task:
    x, y = datasets.load_digits(return_X_y=True)
    return _split((x / 8.0 - 1.0).reshape(-1, 8, 8), y.astype(np.int64), 256, cross_entropy)


def digits_reconstruction() -> Task:
    x, _ = datasets.load_digits(return_X_y=True)
    x = x / 8.0 - 1.0
    return _split(x, x, 256, squared_error)


def cancer() -> Task:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return _split(_standardized(x), y.astype(np.int64), 256, cross_entropy)


def diabetes() -> Task:
    x, y = datasets.load_diabetes(return_X_y=True)
    return _split(_standardized(x), _standardized(y[:, None]), 256, squared_error)


def friedman() -> Task:
    x, y = datasets.make_friedman1(640, n_features=8, noise=0.5, random_state=3)
    return _split(2.0 * x - 1.0, _standardized(y[:, None]), 256, squared_error)


def _function_of_one_variable(function: Callable[[np.ndarray], np.ndarray], noise: float) -> Task:
    rng = np.random.default_rng(11)
    x = rng.uniform(-1.0, 1.0, (512, 1))
    y = _standardized(function(x))
    y[:256] += noise * rng.standard_normal((256, 1))
    to = lambda a: torch.as_tensor(a, dtype=torch.float32)  # noqa: E731
    return Task(to(x[:256]), to(y[:256]), to(x[256:]), to(y[256:]), squared_error)


def curve() -> Task:
    return _function_of_one_variable(
        lambda x: np.sin(np.pi * x) + 0.5 * np.sin(4 * np.pi * x) + 0.3 * np.cos(7 * x), 0.1
    )


def sawtooth() -> Task:
    return _function_of_one_variable(lambda x: np.abs((3.0 * x) % 2.0 - 1.0), 0.02)


def iterated_map() -> Task:
    def twice(x: np.ndarray) -> np.ndarray:
        z = (x + 1.0) / 2.0
        for _ in range(3):
            z = 3.7 * z * (1.0 - z)
        return z

    return _function_of_one_variable(twice, 0.02)


def spirals() -> Task:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, 512)
    radius = np.sqrt(rng.uniform(0.02, 1.0, 512))
    angle = 4.5 * radius + 2.0 * np.pi * label / 3.0 + 0.08 * rng.standard_normal(512)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _split(2.0 * x, label.astype(np.int64), 256, cross_entropy)


def parity(bits: int = 4, length: int = 8) -> Task:
    rng = np.random.default_rng(13)
    x = rng.choice([-1.0, 1.0], (768, length))
    return _split(x, (x[:, :bits].prod(axis=1) > 0).astype(np.int64), 512, cross_entropy)


def grammar(branching: int, seed: int, length: int = 13) -> Task:
    """Nested brackets of several kinds with filler words that depend on what is open."""
    rng = np.random.default_rng(seed)
    words = 4
    rows = []
    for _ in range(640):
        row: list[int] = []
        stack: list[int] = []
        while len(row) < length:
            u = rng.random()
            if u < 0.35 and len(stack) < 3:
                stack.append(int(rng.integers(branching)))
                row.append(stack[-1])
            elif u < 0.7 and stack:
                row.append(branching + stack.pop())
            else:
                context = stack[-1] + 1 if stack else 0
                row.append(2 * branching + (context + int(rng.integers(2))) % words)
        rows.append(row)
    sequences = np.array(rows, dtype=np.int64)
    return _split(sequences[:, :-1], sequences[:, 1:], 256, cross_entropy)


def marker_sequences() -> Task:
    """Which of three symbols followed the marker, in a sequence of ten."""
    rng = np.random.default_rng(17)
    x = rng.integers(0, 3, (640, 10))
    place = rng.integers(0, 9, 640)
    x[np.arange(640), place] = 3
    y = x[np.arange(640), place + 1].astype(np.int64)
    return _split(np.eye(4)[x], y, 256, cross_entropy)


def waves() -> Task:
    """Sine, square, saw-tooth or chirp, at random phase and pitch, in noise."""
    rng = np.random.default_rng(19)
    t = np.arange(24) / 24.0
    kind = rng.integers(0, 4, 640)
    pitch = rng.uniform(1.5, 3.5, (640, 1))
    phase = 2.0 * np.pi * (pitch * t + rng.random((640, 1)))
    shapes = np.stack(
        [
            np.sin(phase),
            np.sign(np.sin(phase)),
            (phase / np.pi) % 2.0 - 1.0,
            np.sin(phase * (1.0 + t)),
        ]
    )
    x = shapes[kind, np.arange(640)] + 0.25 * rng.standard_normal((640, 24))
    return _split(x[:, None, :], kind.astype(np.int64), 256, cross_entropy)


def far_pattern(distance: int) -> Task:
    """Per position: is the mark ``distance`` to the left the same? Needs a wide view."""
    rng = np.random.default_rng(23 + distance)
    x = rng.choice([-1.0, 1.0], (640, 1, 20))
    y = (x[:, 0, distance:] == x[:, 0, :-distance]).astype(np.int64)
    padded = np.concatenate([np.zeros((640, distance), dtype=np.int64), y], axis=1)
    return _split(x, padded, 256, cross_entropy)


def community_graph() -> Task:
    """Four communities on one graph; x holds weak features and the adjacency side by side."""
    rng = np.random.default_rng(29)
    nodes = 192
    label = rng.integers(0, 4, nodes)
    same = label[:, None] == label[None, :]
    edges = np.triu(rng.random((nodes, nodes)) < np.where(same, 0.10, 0.02), 1)
    features = np.eye(4)[label] @ rng.standard_normal((4, 12)) * 0.7
    features = features + 1.2 * rng.standard_normal((nodes, 12))
    return _graph_task(edges, features, label)


def _graph_task(edges: np.ndarray, features: np.ndarray, label: np.ndarray) -> Task:
    adjacency = edges | edges.T | np.eye(len(edges), dtype=bool)
    degree = adjacency.sum(1)
    normalized = adjacency / np.sqrt(degree[:, None] * degree[None, :])
    x = torch.as_tensor(np.concatenate([features, normalized], axis=1), dtype=torch.float32)
    y = torch.as_tensor(label, dtype=torch.int64)
    half = torch.zeros(len(y), dtype=torch.bool)
    half[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))[: len(y) // 2]] = True
    train = torch.where(half, y, -100)
    held = torch.where(half, -100, y)
    return Task(x, train, x, held, cross_entropy, full_batch=True)


def hops(distance: int) -> Task:
    """On a ring of cliques-free nodes: the colour of the node ``distance`` steps clockwise."""
    rng = np.random.default_rng(31 + distance)
    nodes = 200
    edges = np.zeros((nodes, nodes), dtype=bool)
    edges[np.arange(nodes), (np.arange(nodes) + 1) % nodes] = True
    mark = rng.integers(0, 2, nodes)
    away = np.roll(mark, distance) + np.roll(mark, -distance)
    features = np.stack([mark * 2.0 - 1.0, np.ones(nodes)], axis=1)
    return _graph_task(edges, features, away)


def vary(task: Task, variant: str, seed: int) -> Task:
    """Return the task with a fifth of the training labels wrong, or with a quarter of the data."""
    if variant == "clean" or task.full_batch:
        return task
    if variant == "small":
        few = len(task.x) // 4
        return Task(task.x[:few], task.y[:few], task.x_val, task.y_val, task.loss)
    generator = torch.Generator().manual_seed(seed)
    if task.y.dtype == torch.int64:
        wrong = torch.rand(task.y.shape, generator=generator) < 0.2
        classes = int(task.y.max()) + 1
        y = torch.where(wrong, torch.randint(0, classes, task.y.shape, generator=generator), task.y)
    else:
        y = task.y + 0.3 * torch.randn(task.y.shape, generator=generator)
    return Task(task.x, y, task.x_val, task.y_val, task.loss)


def chance_level(task: Task) -> tuple[float, float]:
    """Return the training and the validation loss of the best constant answer."""
    levels = []
    for y in (task.y, task.y_val):
        if y.dtype == torch.int64:
            share = torch.bincount(y[y >= 0]).float() / (y >= 0).sum()
            levels.append(float(-(share[share > 0] * share[share > 0].log()).sum()))
        else:
            levels.append(float((y - y.mean(0)).pow(2).mean()))
    return levels[0], levels[1]
