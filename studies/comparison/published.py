"""The published spectra recomputed as a check of the matching distance (Redman et al. 2024).

``python -m studies.comparison.published`` writes ``published.json``: distances of the spectra of
gradient descent, mirror descent and bisection (their section 4.1), and of networks of hidden width
5, 10 and 40 (section 4.2; on 8 x 8 digits here), with delays at rank 10.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from koopscope.comparison.operators import spectra_distance
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd

OUT = Path(__file__).with_name("published.json")
RATE, ITERATIONS, STARTS = 0.1, 40, 400
WIDTHS, SEEDS, RANK, DELAY = (5, 10, 40), (0, 1, 2), 10, 8


def iterated(step: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """Return [ITERATIONS + 1, STARTS]: every start under a map."""
    rows = [start]
    for _ in range(ITERATIONS):
        rows.append(step(rows[-1]))
    return np.array(rows)


def bisected(start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the midpoints of intervals around each start that hold the root of x - 1."""
    low, high = (start + sign * rng.uniform(0.7, 1.2, STARTS) for sign in (-1.0, 1.0))
    rows = []
    for _ in range(ITERATIONS + 1):
        middle = (low + high) / 2.0
        rows.append(middle)
        high, low = np.where(middle > 1.0, middle, high), np.where(middle > 1.0, low, middle)
    return np.array(rows)


def optimizers() -> dict[str, np.ndarray]:
    """Return the spectra of four ways to the minimum of (x - 1)^2 / 2 over x > 0.

    Mirror descent with the entropy is gradient descent in u with x = u^2 / 4 (Amid and Warmuth
    2020), so these two are conjugate, and bisection is not.
    """
    rng = np.random.default_rng(0)
    start = rng.uniform(0.6, 1.5, STARTS)
    courses = {
        "mirror": iterated(lambda x: x * np.exp(-RATE * (x - 1.0)), start),
        "reparametrized": iterated(
            lambda u: u - RATE * (u**2 / 4.0 - 1.0) * u / 2.0, 2.0 * np.sqrt(start)
        )
        ** 2
        / 4.0,
        "bisection": bisected(start, rng),
    }
    return {
        name: dmd(gram_of(course), "raw", rank=RANK).eigenvalues for name, course in courses.items()
    }


def distances(spectra: dict[str, np.ndarray]) -> dict[str, float]:
    names = list(spectra)
    return {
        f"{one} - {other}": spectra_distance(spectra[one], spectra[other])
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    }


def trained(width: int, seed: int) -> np.ndarray:
    """Return [61, weights], the hidden layer of a network of one hidden layer under SGD."""
    import torch

    from studies import networks, tasks, training

    torch.manual_seed(seed)
    net = networks.mlp([64, width, 10], torch.nn.ReLU)
    optimizer = training.make_optimizer(net, "sgd", 0.1, 0.0)
    course = training.Trainer(net, tasks.digits(), optimizer, seed).train("constant", 61, 8, 1)
    return np.array([weights["0.weight"].reshape(-1) for weights in course.weights], float)


def widths() -> dict[str, float]:
    """Return the mean distance of spectra between seeds, of every two widths."""
    spectra = {
        (width, seed): dmd(gram_of(trained(width, seed)), "raw", rank=RANK, delay=DELAY).eigenvalues
        for width, seed in product(WIDTHS, SEEDS)
    }
    found = {}
    for i, one in enumerate(WIDTHS):
        for other in WIDTHS[i:]:
            pairs = [
                spectra_distance(spectra[one, a], spectra[other, b])
                for a, b in product(SEEDS, SEEDS)
                if one != other or a < b
            ]
            found[f"{one} - {other}"] = float(np.mean(pairs))
    return found


if __name__ == "__main__":
    found = {"optimizers": distances(optimizers()), "widths": widths()}
    rounded = {k: {pair: round(d, 4) for pair, d in of.items()} for k, of in found.items()}
    OUT.write_text(json.dumps(rounded, indent=1) + "\n", "utf-8")
    print(OUT.read_text("utf-8"))
