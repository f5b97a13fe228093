"""Make the runs of iterates: train each network, then record one answer's hidden states.

python sample_runs/iterates/make.py                # a few minutes on one core
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from operators import communities, forests, karate_club, train_block, train_graph
from torch import Tensor

from koopscope.runs.native.recorder import Recorder

HERE = Path(__file__).parent
ITERATIONS = 30
FORESTS = 8


def record(name: str, iterates: Iterable[tuple[Tensor, float]], about: dict[str, object]) -> None:
    """Record hidden states and the accuracy of the answer read off each of them."""
    path = HERE / f"{name}.h5"
    path.unlink(missing_ok=True)
    with Recorder(path, states=["hidden"], metadata=about) as recorder:
        for step, (x, accuracy) in enumerate(iterates):
            recorder.snapshot(step, {"hidden": x}, accuracy=accuracy)
    print(f"{path.name}: {path.stat().st_size / 1e3:,.0f} kB")


@torch.no_grad()
def graph_iterates(make: object, iterations: int) -> Iterable[tuple[Tensor, float]]:
    graph = make(0)
    with torch.enable_grad():
        network = train_graph(graph, iterations, seed=0)
    for x in network.iterates(graph, ITERATIONS):
        right = network.reader(x).argmax(1) == graph.labels
        yield x, float(right[graph.test].float().mean())


@torch.no_grad()
def forest_iterates(stillness: float) -> Iterable[tuple[Tensor, float]]:
    with torch.enable_grad():
        network = train_block(8, seed=0, stillness=stillness)
    parents, roots = forests(FORESTS, torch.Generator().manual_seed(2**31))
    for x in network.iterates(parents, ITERATIONS):
        yield x, float((network.reader(x).argmax(2) == roots).float().mean())


def main() -> None:
    trained = {"trained_iterations": 16, "seed": 0, "metric": "accuracy on the test nodes"}
    record("communities", graph_iterates(communities, 16), {"network": "graph"} | trained)
    record("karate_club", graph_iterates(karate_club, 16), {"network": "graph"} | trained)
    trained = {"trained_iterations": 8, "seed": 0, "metric": "accuracy over all nodes"}
    block = {"network": "iterated transformer block"}
    record("forest", forest_iterates(1.0), block | {"stillness": 1.0} | trained)
    record("forest_restless", forest_iterates(0.0), block | {"stillness": 0.0} | trained)


if __name__ == "__main__":
    main()
