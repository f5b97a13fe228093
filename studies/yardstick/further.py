"""Families of other losses and shapes: likelihoods, flows, plateaus, graphs with attention."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, multi_margin_loss, softmax

from studies import networks as first
from studies.tasks import Task, _graph_task, _split, _standardized, cross_entropy, squared_error
from studies.yardstick import data
from studies.yardstick.problems import Batch, Problem, Sampled


def iris() -> Task:
    x, y = datasets.load_iris(return_X_y=True)
    half = _split(_standardized(x), y.astype(np.int64), 90, cross_entropy)
    return Task(half.x, half.y, half.x_val, half.y_val, half.loss, full_batch=True)


def adding(length: int = 12) -> Task:
    """The sum of the two numbers that are marked in a series."""
    rng = np.random.default_rng(89)
    values = rng.uniform(0.0, 1.0, (768, length))
    marks = np.zeros((768, length))
    first_mark = rng.integers(0, length // 2, 768)
    second_mark = rng.integers(length // 2, length, 768)
    marks[np.arange(768), first_mark] = marks[np.arange(768), second_mark] = 1.0
    y = _standardized((values * marks).sum(1, keepdims=True))
    return _split(np.stack([values, marks], axis=2), y, 512, squared_error)


def repeated(kinds: int = 12, length: int = 8) -> Task:
    """A random row of tokens twice over: the second time every token can be known."""
    rng = np.random.default_rng(97)
    row = rng.integers(0, kinds, (768, length))
    both = np.concatenate([row, row], axis=1)
    y = both[:, 1:].copy()
    y[:, : length - 1] = -100
    return _split(both[:, :-1], y, 512, cross_entropy)


def teacher() -> Task:
    """A linear map of rank three, for deep linear networks (Saxe et al. 2014)."""
    rng = np.random.default_rng(101)
    x = rng.standard_normal((640, 12))
    u, _ = np.linalg.qr(rng.standard_normal((12, 3)))
    v, _ = np.linalg.qr(rng.standard_normal((8, 3)))
    y = x @ (u * np.array([4.0, 2.0, 1.0])) @ v.T + 0.05 * rng.standard_normal((640, 8))
    return _split(x, y, 384, squared_error)


def sparse_parity() -> Task:
    rng = np.random.default_rng(103)
    x = rng.choice([-1.0, 1.0], (1024, 12))
    return _split(x, (x[:, [1, 4, 9]].prod(axis=1) > 0).astype(np.int64), 768, cross_entropy)


def categories() -> Task:
    """Six categorical columns with effects of their own and of one pair."""
    rng = np.random.default_rng(107)
    x = rng.integers(0, 10, (896, 6))
    effect, pair = rng.standard_normal((6, 10)), rng.standard_normal((10, 10))
    y = effect[np.arange(6), x].sum(1) + pair[x[:, 0], x[:, 1]] + 0.3 * rng.standard_normal(896)
    return _split(x + 10 * np.arange(6), _standardized(y[:, None]), 640, squared_error)


def photographs() -> Task:
    """Which of two photographs a patch was cut from."""
    rng = np.random.default_rng(109)
    rows, labels = [], []
    for label, image in enumerate(datasets.load_sample_images().images):
        for _ in range(360):
            i, j = rng.integers(0, 410), rng.integers(0, 620)
            rows.append(image[i : i + 12, j : j + 12].transpose(2, 0, 1) / 127.5 - 1.0)
            labels.append(label)
    return _split(np.array(rows), np.array(labels, dtype=np.int64), 448, cross_entropy)


def margin_digits() -> Task:
    x, y = datasets.load_digits(return_X_y=True)
    return _split(x / 8.0 - 1.0, y.astype(np.int64), 384, multi_margin_loss)


def reversal(length: int = 5, kinds: int = 8) -> Task:
    """Read a row of symbols, then write it backwards."""
    rng = np.random.default_rng(113)
    row = rng.integers(0, kinds, (768, length))
    x = np.concatenate([row, np.full((768, length), kinds)], axis=1)
    y = np.concatenate([np.full((768, length), -100), row[:, ::-1]], axis=1)
    return _split(x, y, 512, cross_entropy)


def context(length: int = 5) -> Task:
    """The next character from the five before it."""
    rows = data.characters(length, 2048, 512)
    return Task(rows.x, rows.y[:, -1], rows.x_val, rows.y_val[:, -1], cross_entropy)


def other_communities() -> Task:
    rng = np.random.default_rng(127)
    nodes = 160
    label = rng.integers(0, 3, nodes)
    same = label[:, None] == label[None, :]
    edges = np.triu(rng.random((nodes, nodes)) < np.where(same, 0.12, 0.02), 1)
    features = np.eye(3)[label] @ rng.standard_normal((3, 10)) * 0.6
    return _graph_task(edges, features + rng.standard_normal((nodes, 10)), label)


class Photographs(nn.Module):
    """Convolutions with group normalization before a wide dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 24, 3, 2, 1)
        self.norm1, self.norm2 = nn.GroupNorm(3, 12), nn.GroupNorm(4, 24)
        self.wide, self.out = nn.Linear(216, 460), nn.Linear(460, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm1(self.one(x)))
        h = torch.relu(self.norm2(self.two(h))).flatten(1)
        return self.out(torch.relu(self.wide(h)))


class Columns(nn.Module):
    """Embedded categories, joined and mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 6)
        self.up, self.down = nn.Linear(36, 32), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(self.embed(x).flatten(1))))


class ContextNetwork(nn.Module):
    """Embedded characters, joined, a wide layer, the next one (Bengio et al. 2003)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 24)
        self.up, self.down = nn.Linear(120, 560), nn.Linear(560, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.tanh(self.up(self.embed(x).flatten(1))))


class SeriesLSTM(nn.Module):
    """Reads a series and answers from the last state."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.cell, self.head = nn.LSTM(inputs, width, batch_first=True), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Reverser(nn.Module):
    """An LSTM over embedded tokens."""

    def __init__(self, kinds: int, width: int):
        super().__init__()
        self.embed = nn.Embedding(kinds + 1, 12)
        self.cell, self.head = nn.LSTM(12, width, batch_first=True), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.embed(x))[0])


class GraphAttention(nn.Module):
    """Attention over neighbours (Velickovic et al. 2018), features beside the adjacency."""

    def __init__(self, features: int, width: int, classes: int):
        super().__init__()
        self.features = features
        self.one, self.two = nn.Linear(features, width), nn.Linear(width, width)
        self.key, self.query = nn.Linear(width, 2), nn.Linear(width, 2)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h, near = self.one(x[:, : self.features]), x[:, self.features :] > 0
        for index in range(2):
            score = self.key(h)[:, index, None] + self.query(h)[None, :, index]
            score = torch.where(near, nn.functional.leaky_relu(score, 0.2), -1e9)
            h = torch.relu(softmax(score, 1) @ h)
            h = h + self.two(h)
        return self.head(h)


class ResidualImage(nn.Module):
    """Two residual blocks of convolutions with batch normalization."""

    def __init__(self, width: int = 40):
        super().__init__()
        self.read = nn.Conv2d(1, width, 3, 2, 1)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(4))
        self.wide, self.head = nn.Linear(width * 4, 320), nn.Linear(320, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.read(x)
        for block in (0, 2):
            inner = torch.relu(self.norms[block](self.convs[block](h)))
            h = torch.relu(h + self.norms[block + 1](self.convs[block + 1](inner)))
        h = nn.functional.avg_pool2d(h, 2).flatten(1)
        return self.head(torch.relu(self.wide(h)))


class Coupling(nn.Module):
    """Four affine couplings of two coordinates (Dinh et al. 2017)."""

    def __init__(self, width: int = 20):
        super().__init__()
        self.nets = nn.ModuleList(first.mlp([1, width, 2], nn.Tanh) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Return minus the log-likelihood of each point."""
        volume = torch.zeros(len(x))
        for index, net in enumerate(self.nets):
            kept, moved = x[:, index % 2], x[:, (index + 1) % 2]
            scale, shift = net(kept[:, None]).unbind(1)
            scale = torch.tanh(scale)
            moved = moved * torch.exp(scale) + shift
            volume = volume + scale
            x = torch.stack([kept, moved] if index % 2 == 0 else [moved, kept], dim=1)
        return 0.5 * x.square().sum(1) + math.log(2 * math.pi) - volume


def moons_flow() -> Problem:
    x, _ = datasets.make_moons(768, noise=0.08, random_state=5)
    points = data.floats(_standardized(x))

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return net(batch[0]).mean()

    return Sampled(Coupling(), loss, (points[:512],), (points[512:],))


def friedman_likelihood() -> Problem:
    """Mean and variance of an answer whose noise depends on the input: the loss may be negative."""
    rng = np.random.default_rng(131)
    x, y = datasets.make_friedman3(768, random_state=6)
    x, y = _standardized(x), _standardized(y[:, None])
    y = y + 0.15 * (1.0 + np.tanh(x[:, :1])) * rng.standard_normal(y.shape)
    pairs = data.floats(x), data.floats(y)

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        mean, log_variance = net(batch[0]).chunk(2, dim=1)
        log_variance = log_variance.clamp(-9.0, 9.0)
        return (0.5 * log_variance + 0.5 * (batch[1] - mean).square() / log_variance.exp()).mean()

    train, held = tuple(p[:448] for p in pairs), tuple(p[448:] for p in pairs)
    return Sampled(first.mlp([4, 32, 32, 2], nn.ReLU), loss, train, held)


def counts_poisson() -> Problem:
    """Counts with a rate that depends on the input; without its constant the loss is negative."""
    rng = np.random.default_rng(137)
    x = rng.standard_normal((768, 6))
    rate = np.exp(1.2 + 0.7 * np.sin(2.0 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2])
    pairs = data.floats(x), data.floats(rng.poisson(np.minimum(rate, 60.0))[:, None])

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        log_rate = net(batch[0]).clamp(-20.0, 20.0)
        return (log_rate.exp() - batch[1] * log_rate).mean()

    train, held = tuple(p[:448] for p in pairs), tuple(p[448:] for p in pairs)
    return Sampled(first.mlp([6, 32, 32, 1], nn.GELU), loss, train, held)


def mixture_density() -> Problem:
    """A curve that folds back, answered by a mixture of four bells (Bishop 1994)."""
    rng = np.random.default_rng(139)
    y = rng.uniform(-1.0, 1.0, (768, 1))
    x = y + 0.35 * np.sin(2.0 * np.pi * y) + 0.05 * rng.standard_normal(y.shape)
    pairs = data.floats(x), data.floats(y)

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        share, mean, log_width = net(batch[0]).chunk(3, dim=1)
        log_width = log_width.clamp(-6.0, 6.0)
        part = -0.5 * ((batch[1] - mean) / log_width.exp()).square() - log_width
        return -torch.logsumexp(log_softmax(share, 1) + part, 1).mean()

    train, held = tuple(p[:512] for p in pairs), tuple(p[512:] for p in pairs)
    return Sampled(first.mlp([1, 28, 28, 12], nn.Tanh), loss, train, held)


def digits_distillation() -> Problem:
    """A small network that imitates the soft answers of a nearest-mean rule."""
    x, y = data.digit_vectors()
    means = torch.stack([x[:900][y[:900] == k].mean(0) for k in range(10)])
    soft = softmax(-torch.cdist(x, means).square() / 8.0, 1)

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return kl_div(log_softmax(net(batch[0]), 1), batch[1], reduction="batchmean")

    return Sampled(
        first.mlp([64, 20, 10], nn.ReLU), loss, (x[:512], soft[:512]), (x[900:1156], soft[900:1156])
    )


def _deep_linear() -> nn.Module:
    layers = [nn.Linear(a, b, bias=False) for a, b in ((12, 12), (12, 12), (12, 12), (12, 8))]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(0.6)
    return nn.Sequential(*layers)


SUPERVISED: dict[str, tuple[Callable[[], Task], Callable[[], nn.Module], int]] = {
    "iris_fullbatch": (iris, lambda: first.mlp([4, 16, 3], nn.Tanh), 32),
    "adding_lstm": (adding, lambda: SeriesLSTM(2, 20), 32),
    "repeated_transformer": (repeated, lambda: first.Transformer((12, 24, 12), 15, 2, True), 32),
    "teacher_linear": (teacher, _deep_linear, 32),
    "three_bits_mlp": (sparse_parity, lambda: first.mlp([12, 48, 2], nn.ReLU), 32),
    "categories_embedding": (categories, Columns, 32),
    "photographs_groupnorm": (photographs, Photographs, 32),
    "digits_margin": (margin_digits, lambda: first.mlp([64, 256, 256, 10], nn.ReLU, 0.3), 32),
    "reversal_lstm": (reversal, lambda: Reverser(8, 40), 32),
    "source_context": (context, ContextNetwork, 32),
    "community_attention": (other_communities, lambda: GraphAttention(10, 20, 3), 32),
}
OTHERS: dict[str, Callable[[], Problem]] = {
    "moons_flow": moons_flow,
    "friedman_likelihood": friedman_likelihood,
    "counts_poisson": counts_poisson,
    "mixture_density": mixture_density,
    "digits_distillation": digits_distillation,
}
