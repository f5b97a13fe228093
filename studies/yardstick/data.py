"""More data that nothing has to be downloaded for: bundled sets, image patches, text, synthesis."""

from __future__ import annotations

import re
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from studies.tasks import Task, _split, _standardized, cross_entropy, squared_error


def floats(values: np.ndarray) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)


@cache
def digit_vectors() -> tuple[Tensor, Tensor]:
    """Return the digits [1797, 64] in -1 .. 1 and their labels, shuffled."""
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(x))
    return floats(x[order] / 8.0 - 1.0), torch.as_tensor(y[order], dtype=torch.int64)


def wine() -> Task:
    x, y = datasets.load_wine(return_X_y=True)
    return _split(_standardized(x), y.astype(np.int64), 96, cross_entropy)


def friedman_two() -> Task:
    x, y = datasets.make_friedman2(640, noise=20.0, random_state=4)
    return _split(_standardized(x), _standardized(y[:, None]), 320, squared_error)


@cache
def _library_text() -> str:
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = ("argparse", "ast", "cmd", "difflib", "doctest", "heapq", "inspect", "textwrap")
    return "\n".join((folder / f"{name}.py").read_text("utf-8") for name in names)


def characters(length: int, train: int, held_rows: int = 128) -> Task:
    """Predict the next character of the Python standard library's source, 64 classes."""
    text = _library_text()
    alphabet = sorted(set(text), key=text.count, reverse=True)[:63]
    number = {character: index for index, character in enumerate(alphabet)}
    codes = np.array([number.get(character, 63) for character in text[:200_000]], dtype=np.int64)
    rng = np.random.default_rng(41)
    begins = rng.integers(0, 150_000, train)
    held = rng.integers(160_000, 190_000, held_rows)
    rows = np.stack([codes[b : b + length + 1] for b in np.concatenate([begins, held])])
    rows = torch.as_tensor(rows)
    x, y = rows[:, :-1], rows[:, 1:]
    return Task(x[:train], y[:train], x[train:], y[train:], cross_entropy)


def words(length: int, train: int, vocabulary: int) -> Task:
    """Predict the next word of the same source."""
    found = re.findall(r"[A-Za-z_]+|[^\sA-Za-z_]", _library_text())
    kinds, counts = np.unique(found, return_counts=True)
    common = kinds[np.argsort(-counts, kind="stable")][: vocabulary - 1]
    number = {word: index for index, word in enumerate(common)}
    codes = np.array([number.get(word, vocabulary - 1) for word in found], dtype=np.int64)
    rng = np.random.default_rng(43)
    cut = int(0.85 * len(codes))
    begins = rng.integers(0, cut - length - 1, train)
    held = rng.integers(cut, len(codes) - length - 1, 96)
    rows = torch.as_tensor(
        np.stack([codes[b : b + length + 1] for b in np.concatenate([begins, held])])
    )
    x, y = rows[:, :-1], rows[:, 1:]
    return Task(x[:train], y[:train], x[train:], y[train:], cross_entropy)


@cache
def patches(side: int, count: int) -> Tensor:
    """Return grey patches [count, side * side] of two photographs, standardized."""
    rng = np.random.default_rng(47)
    rows = []
    for image in datasets.load_sample_images().images:
        grey = image.mean(axis=2)
        for _ in range(count // 2):
            i, j = rng.integers(0, grey.shape[0] - side), rng.integers(0, grey.shape[1] - side)
            rows.append(grey[i : i + side, j : j + side].reshape(-1))
    x = np.array(rows)[rng.permutation(len(rows))]
    return floats((x - x.mean()) / x.std())


def patch_reconstruction() -> Task:
    x = patches(14, 768)
    return Task(x[:512], x[:512], x[512:], x[512:], squared_error)


def pixels() -> Task:
    """The colours of a small picture at its coordinates; every third pixel validates."""
    image = datasets.load_sample_images().images[0][100:300:6, 200:400:6] / 127.5 - 1.0
    rows, columns = np.meshgrid(
        np.linspace(-1, 1, image.shape[0]), np.linspace(-1, 1, image.shape[1]), indexing="ij"
    )
    x = np.stack([rows.reshape(-1), columns.reshape(-1)], axis=1)
    return _split(x, image.reshape(-1, 3), 768, squared_error)


def ratings() -> Task:
    """Ratings of items by users: the product of three hidden traits, in noise."""
    rng = np.random.default_rng(53)
    users, items = rng.standard_normal((200, 3)), rng.standard_normal((120, 3))
    user, item = rng.integers(0, 200, 6000), rng.integers(0, 120, 6000)
    y = (users[user] * items[item]).sum(1, keepdims=True) / 1.7
    y += 0.3 * rng.standard_normal(y.shape)
    x = torch.as_tensor(np.stack([user, item], axis=1))
    return Task(x[:5500], floats(y[:5500]), x[5500:], floats(y[5500:]), squared_error)


def lorenz() -> Task:
    """The next values of Lorenz' system, from 16 past ones of its three coordinates."""
    state, rows = np.array([1.0, 1.0, 20.0]), []
    for _ in range(9000):
        x, y, z = state
        state = state + 0.01 * np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        rows.append(state)
    series = _standardized(np.array(rows)[1000::4])
    begins = np.random.default_rng(59).permutation(len(series) - 20)[:640]
    x = np.stack([series[b : b + 16] for b in begins])
    y = np.stack([series[b + 17] for b in begins])
    return Task(floats(x[:400]), floats(y[:400]), floats(x[400:]), floats(y[400:]), squared_error)


def delay_series() -> Task:
    """The value twelve steps ahead in a delay equation's chaotic series (Mackey and Glass)."""
    series = [1.2] * 18
    for _ in range(3000):
        series.append(series[-1] + 0.2 * series[-18] / (1 + series[-18] ** 10) - 0.1 * series[-1])
    values = _standardized(np.array(series[300:]))
    begins = np.random.default_rng(61).permutation(len(values) - 50)[:640]
    x = np.stack([values[b : b + 32] for b in begins])[:, None, :]
    y = np.stack([values[b + 44 : b + 45] for b in begins])
    return Task(floats(x[:400]), floats(y[:400]), floats(x[400:]), floats(y[400:]), squared_error)


def modular_addition(modulus: int = 23) -> Task:
    """The sum of two numbers modulo a prime: learned by heart first, understood later."""
    a, b = np.meshgrid(np.arange(modulus), np.arange(modulus))
    x = np.stack([a.reshape(-1), b.reshape(-1)], axis=1)
    return _split(x, (x.sum(1) % modulus).astype(np.int64), 273, cross_entropy)


def small_graphs() -> Task:
    """Three kinds of random graphs of twelve nodes, told apart by their adjacency alone."""
    rng = np.random.default_rng(67)
    rows, labels = [], []
    for _ in range(640):
        kind, nodes = int(rng.integers(3)), 12
        if kind == 0:
            edges = rng.random((nodes, nodes)) < 0.25
        elif kind == 1:
            ring = np.abs(np.subtract.outer(np.arange(nodes), np.arange(nodes)))
            edges = np.isin(ring, [1, 2, nodes - 1]) ^ (rng.random((nodes, nodes)) < 0.06)
        else:
            weight = 1.0 / (1.0 + np.arange(nodes))
            edges = rng.random((nodes, nodes)) < 1.2 * np.sqrt(np.outer(weight, weight))
        edges = np.triu(edges, 1)
        order = rng.permutation(nodes)
        rows.append((edges | edges.T)[np.ix_(order, order)].astype(float))
        labels.append(kind)
    return _split(np.array(rows), np.array(labels, dtype=np.int64), 320, cross_entropy)
