"""Small networks that are really trained, in NumPy alone: runs with a known fault in a tenth of a
second, analysed in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine.unit_axes import UnitAxes
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import GramAccumulator

Arrays = dict[str, np.ndarray]


@dataclass
class Training:
    """A classifier of three classes with two hidden layers, and how it is trained.

    Attributes
    ----------
    optimizer, rate
        Plain gradient descent on minibatches of 32, or Adam.
    rate_at
        Factor on the rate by the part of the run that is over.
    wrong_labels
        Part of the training labels that are drawn at random.
    samples
        To train on; 256 more are for validation.
    frozen
        Tensors that are not trained, by the start of their name.
    start
        Changes the initial weights.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    rate: float = 0.1
    rate_at: Callable[[float], float] = lambda part: 1.0
    wrong_labels: float = 0.0
    samples: int = 192
    snapshots: int = 61
    every: int = 6
    width: int = 24
    frozen: tuple[str, ...] = ()
    start: Callable[[Arrays], None] = lambda weights: None
    seed: int = 0
    weights: list[Arrays] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    def run(self) -> Training:
        """Train, and keep every snapshot's weights and losses."""
        rng = np.random.default_rng(self.seed)
        x, y = _data(rng, self.samples, self.wrong_labels)
        x_val, y_val = _data(np.random.default_rng(99), 256, 0.0)
        now = _initial(rng, self.width)
        self.start(now)
        moments = {name: (np.zeros_like(w), np.zeros_like(w)) for name, w in now.items()}
        self.metrics = {"loss": [], "val_loss": [], "val_accuracy": [], "lr": []}
        steps = (self.snapshots - 1) * self.every
        for step in range(steps + 1):
            factor = self.rate_at(step / steps)
            if step % self.every == 0:
                self.weights.append({name: w.copy() for name, w in now.items()})
                loss, _ = _loss(now, x, y)
                val_loss, right = _loss(now, x_val, y_val)
                for name, value in zip(
                    self.metrics, (loss, val_loss, right, factor * self.rate), strict=True
                ):
                    self.metrics[name].append(value)
            batch = rng.choice(len(x), 32, replace=False)
            gradients = _gradients(now, x[batch], y[batch])
            for name, gradient in gradients.items():
                if name.startswith(self.frozen or ("-",)):
                    continue
                change = gradient
                if self.optimizer == "adam":
                    first, second = moments[name]
                    first += 0.1 * (gradient - first)
                    second += 0.001 * (gradient**2 - second)
                    t = step + 1
                    change = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
                now[name] -= (factor * self.rate * change).astype(np.float32)
        return self

    def analysis(
        self, metrics: tuple[str, ...] | None = None, metric: str | None = None
    ) -> Analysis:
        """Return the run as an analysis, with some of its metrics, all by default."""
        names = tuple(self.metrics) if metrics is None else metrics
        chosen = {name: np.array(self.metrics[name]) for name in names}
        paths = {name: np.array([w[name] for w in self.weights]) for name in self.weights[0]}
        return analysed(paths, chosen, every=self.every, metric=metric)


def analysed(
    paths: Arrays,
    metrics: dict[str, np.ndarray] | None = None,
    *,
    every: int = 1,
    metric: str | None = None,
) -> Analysis:
    """Analyse trajectories (T, *shape) by tensor name, unit by unit as a pass would."""
    count = len(next(iter(paths.values())))
    tensors = tuple(
        TensorInfo(name, values.shape[1:], values.dtype.name) for name, values in paths.items()
    )
    description = RunDescription(
        "memory", "test", every * np.arange(count, dtype=np.int64), tensors, metrics or {}
    )
    axes = UnitAxes(description)
    grams = {}
    for tensor in tensors:
        accumulator = GramAccumulator(count)
        accumulator.add(paths[tensor.name].reshape(count, -1), 0, axes(tensor))
        grams[tensor.name] = accumulator.result()
    return Analysis(description, grams, Settings(metric=metric))


def _data(rng: np.random.Generator, count: int, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    """Three arms of a spiral with five inputs of noise beside them."""
    label = rng.integers(0, 3, count)
    radius = np.sqrt(rng.uniform(0.05, 1.0, count))
    angle = 3.0 * radius + 2.0 * np.pi * label / 3.0 + 0.15 * rng.standard_normal(count)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    x = np.concatenate([2.0 * x, 0.5 * rng.standard_normal((count, 5))], axis=1)
    random = rng.random(count) < wrong
    label[random] = rng.integers(0, 3, int(random.sum()))
    return x, label


def _initial(rng: np.random.Generator, width: int) -> Arrays:
    sizes = (7, width, width, 3)
    weights = {}
    for layer, (before, after) in enumerate(pairwise(sizes)):
        name = f"hidden.{layer}" if layer < 2 else "head"
        scale = np.sqrt(2.0 / before)
        weights[f"{name}.weight"] = (scale * rng.standard_normal((after, before))).astype("f4")
        weights[f"{name}.bias"] = np.zeros(after, "f4")
    return weights


def _layers(weights: Arrays) -> list[tuple[np.ndarray, np.ndarray]]:
    names = ("hidden.0", "hidden.1", "head")
    return [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in names]


def _forward(weights: Arrays, x: np.ndarray) -> list[np.ndarray]:
    values = [x]
    layers = _layers(weights)
    for index, (w, b) in enumerate(layers):
        out = values[-1] @ w.T + b
        values.append(np.maximum(out, 0.0) if index < len(layers) - 1 else out)
    return values


def _probabilities(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    normed: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return normed


def _loss(weights: Arrays, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    scores = _forward(weights, x)[-1]
    chosen = _probabilities(scores)[np.arange(len(y)), y]
    right = float(np.mean(scores.argmax(axis=1) == y))
    return float(-np.log(np.maximum(chosen, 1e-30)).mean()), right


def _gradients(weights: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    values = _forward(weights, x)
    back = _probabilities(values[-1])
    back[np.arange(len(y)), y] -= 1.0
    back /= len(y)
    found: Arrays = {}
    for name, (w, _), inputs in reversed(
        list(zip(("hidden.0", "hidden.1", "head"), _layers(weights), values[:-1], strict=True))
    ):
        found[f"{name}.weight"] = back.T @ inputs
        found[f"{name}.bias"] = back.sum(axis=0)
        back = (back @ w) * (inputs > 0.0)
    return found
