"""Accuracy against iterations, and the iterations koopscope suggests against the measured best.

Trains the operators of sample_runs/iterates with several numbers of iterations and seeds, iterates
each of them further than it was trained for, and asks ``contraction`` about the first 30 iterates.

    python -m studies.fixed_points.accuracy      # about ten minutes on one core
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.iterates.contraction import contraction
from sample_runs.iterates.operators import (
    communities,
    forests,
    karate_club,
    train_block,
    train_graph,
)

HERE = Path(__file__).parent
FURTHEST = 64
RECORDED = 30
SHOWN = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
TOLERANCES = (0.1, 0.01, 0.001)

Row = dict[str, object]


def graphs(seeds: range) -> Iterator[Row]:
    for name, make in (("communities", communities), ("karate club", karate_club)):
        for trained in (0, 1, 2, 4, 8, 16):
            for seed in seeds:
                graph = make(seed)
                network = train_graph(graph, trained, seed)
                with torch.no_grad():
                    iterates = list(network.iterates(graph, FURTHEST))
                    right = [network.reader(x).argmax(1) == graph.labels for x in iterates]
                accuracy = [float(r[graph.test].float().mean()) for r in right]
                yield judged(name, trained, 0.0, seed, iterates, accuracy)


def blocks(seeds: range) -> Iterator[Row]:
    parents, roots = forests(256, torch.Generator().manual_seed(2**31))
    for seed in seeds:
        for trained, stillness in ((8, 1.0), (8, 0.0), (4, 0.0), (1, 0.0)):
            network = train_block(trained, seed, stillness)
            with torch.no_grad():
                iterates = list(network.iterates(parents, FURTHEST))
                right = [network.reader(x).argmax(2) == roots for x in iterates]
            accuracy = [float(r.float().mean()) for r in right]
            yield judged("forest", trained, stillness, seed, iterates, accuracy)


def judged(
    task: str,
    trained: int,
    stillness: float,
    seed: int,
    iterates: list[torch.Tensor],
    accuracy: list[float],
) -> Row:
    """Return one row: accuracies, the first n within half a percent of the best, and verdicts."""
    states = np.array([x.flatten().numpy() for x in iterates[: RECORDED + 1]])
    rounding = np.finfo(np.float32).eps / 2 * float(np.linalg.norm(states[-1])) * math.sqrt(2 / 3)
    found = contraction(gram_of(states), rounding, TOLERANCES)
    best = max(accuracy)
    row: Row = {"task": task, "trained": trained, "stillness": stillness, "seed": seed}
    row |= {f"accuracy_{n}": round(accuracy[n], 4) for n in SHOWN}
    row |= {
        "best_accuracy": round(best, 4),
        "best_iterations": next(n for n, a in enumerate(accuracy) if a >= best - 0.005),
        "state": found.state,
        "factor": f"{found.fixed.factor:.4g}",
        "low": f"{found.fixed.interval[0]:.4g}",
        "high": f"{found.fixed.interval[1]:.4g}",
        "largest_ratio": f"{found.fixed.largest_ratio:.4g}",
    }
    row |= {f"needed_{n.tolerance:g}": f"{n.predicted:g}" for n in found.iterations}
    print(" ".join(str(value) for value in row.values()), file=sys.stderr, flush=True)
    return row


def main() -> None:
    for name, rows in (("graphs", graphs(range(5))), ("forest", blocks(range(3)))):
        rows = list(rows)
        with open(HERE / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
