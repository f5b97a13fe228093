"""Networks that apply one operator again and again, x <- T(x) + f, and the tasks they learn.

A Picard-iterated graph network (Zappala et al. 2310.01618) that classifies the nodes of a graph,
and an iterated transformer block that finds the root of every node of a forest. Import it before
torch, as ``training`` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

os.environ.setdefault("ATEN_CPU_CAPABILITY", "default")
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

import networkx
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.backends.mkldnn.enabled = False

NODES = 16  # of a forest


@dataclass(frozen=True)
class Graph:
    """A graph whose nodes are to be classified; ``adjacency`` is symmetrically normalised."""

    adjacency: Tensor
    features: Tensor
    labels: Tensor
    train: Tensor
    test: Tensor


def communities(seed: int) -> Graph:
    """Four communities of 100 nodes; features that tell little alone, 20 labels each to learn from.

    A node has 4 neighbours in its own community and 1.2 in the others, on average.
    """
    rng = np.random.default_rng([seed, 1])
    labels = np.repeat(np.arange(4), 100)
    same = labels[:, None] == labels
    drawn = np.triu(rng.random(same.shape) < np.where(same, 0.04, 0.004), 1)
    centres = rng.standard_normal((4, 16))
    features = 0.35 * centres[labels] + rng.standard_normal((400, 16))
    train = np.concatenate([rng.permutation(100)[:20] + 100 * k for k in range(4)])
    return _graph(drawn | drawn.T, features, labels, train)


def karate_club(seed: int) -> Graph:
    """Zachary's karate club (34 members, as it ships with networkx): who went with whom.

    The features say who a node is; the labels of two members of each side are known.
    """
    club = networkx.karate_club_graph()
    labels = np.array([int(club.nodes[k]["club"] != "Mr. Hi") for k in club])
    rng = np.random.default_rng([seed, 2])
    train = np.concatenate([rng.choice(np.flatnonzero(labels == k), 2, False) for k in (0, 1)])
    return _graph(networkx.to_numpy_array(club) > 0, np.eye(34), labels, train)


def _graph(edges: np.ndarray, features: np.ndarray, labels: np.ndarray, train: np.ndarray) -> Graph:
    edges = edges | np.eye(len(edges), dtype=bool)
    degrees = edges.sum(1)
    chosen = np.zeros(len(labels), bool)
    chosen[train] = True
    return Graph(
        torch.tensor(edges / np.sqrt(np.outer(degrees, degrees)), dtype=torch.float32),
        torch.tensor(features, dtype=torch.float32),
        torch.tensor(labels),
        torch.tensor(chosen),
        torch.tensor(~chosen),
    )


class GraphNetwork(nn.Module):
    """x <- tanh(A x W) + f, where A averages over neighbours and f encodes the features."""

    def __init__(self, graph: Graph, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Linear(graph.features.shape[1], width)
        self.mixing = nn.Linear(width, width, bias=False)
        self.reader = nn.Linear(width, int(graph.labels.max()) + 1)
        with torch.no_grad():
            self.mixing.weight.copy_(0.9 * torch.linalg.qr(self.mixing.weight)[0])

    def iterates(self, graph: Graph, count: int) -> Iterator[Tensor]:
        """Yield x_0 = f, x_1, ... x_count."""
        source = self.encoder(graph.features)
        x = source
        yield x
        for _ in range(count):
            x = torch.tanh(graph.adjacency @ self.mixing(x)) + source
            yield x


def train_graph(graph: Graph, iterations: int, seed: int, epochs: int = 150) -> GraphNetwork:
    """Train with this many iterations, unrolled; 0 is a network that sees no neighbour."""
    torch.manual_seed(seed)
    network = GraphNetwork(graph)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(epochs):
        *_, x = network.iterates(graph, iterations)
        answers = network.reader(functional.dropout(x, 0.3))
        loss = functional.cross_entropy(answers[graph.train], graph.labels[graph.train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def forests(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return parents and roots, int64 [count, NODES]; a root is its own parent.

    Node names are shuffled, so that nothing but the parents tells the root. Paths to the root are
    up to NODES - 1 long, a third of a tree's size on average.
    """
    order = torch.rand(count, NODES, generator=generator).argsort(1)
    step = torch.rand(count, NODES, generator=generator)
    position = torch.arange(NODES)
    parent = (position - 1 - (step**3 * position).long()).clamp(min=0)
    parent[:, 0] = 0
    is_root = torch.rand(count, NODES, generator=generator) < 0.2
    parent = torch.where(is_root, position, parent)
    root = parent
    for _ in range(4):  # doubling: 2^4 >= NODES
        root = root.gather(1, root)
    place = order.argsort(1)
    return order.gather(1, parent.gather(1, place)), order.gather(1, root.gather(1, place))


class IteratedBlock(nn.Module):
    """One transformer block, applied again and again to encoded nodes and parents of a forest."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.encoder = nn.Linear(2 * NODES, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm_attention, self.norm_inner = nn.LayerNorm(width), nn.LayerNorm(width)
        self.reader = nn.Linear(width, NODES)

    def iterates(self, parents: Tensor, count: int) -> Iterator[Tensor]:
        """Yield x_0 = f, x_1, ... x_count, each [batch, NODES, width]."""
        names = functional.one_hot(torch.arange(NODES), NODES).expand(len(parents), -1, -1)
        tokens = torch.cat([names, functional.one_hot(parents, NODES)], 2).float()
        source = self.encoder(tokens)
        x = source
        yield x
        for _ in range(count):
            scores = self.query(x) @ self.key(x).transpose(1, 2) / x.shape[-1] ** 0.5
            mixed = self.norm_attention(source + scores.softmax(2) @ self.value(x))
            x = self.norm_inner(mixed + self.outer(functional.gelu(self.inner(mixed))))
            yield x


def train_block(
    iterations: int, seed: int, stillness: float = 0.0, steps: int = 800, batch: int = 64
) -> IteratedBlock:
    """Train with up to this many iterations, a random number of at least half at each step.

    ``stillness`` weighs how far one more iteration moves the last iterate, relative to its length:
    0 asks for right answers only, more asks for a fixed point.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = IteratedBlock()
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        parents, roots = forests(batch, generator)
        low = max(1, iterations // 2)
        count = int(torch.randint(low, iterations + 1, (), generator=generator))
        *_, before, x = network.iterates(parents, count)
        loss = functional.cross_entropy(network.reader(x).flatten(0, 1), roots.flatten())
        if stillness:
            loss = loss + stillness * (x - before).square().mean() / x.square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network
