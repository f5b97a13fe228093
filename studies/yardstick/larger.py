"""Families of 0.3 to 1.8 million weights: text, teachers, photographs, series, spectra."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from studies import networks as first
from studies.tasks import Task, _split, _standardized, cross_entropy, squared_error
from studies.yardstick import data, networks

#: Samples of either set that a measurement looks at: larger networks take their time.
MEASURED_LARGE = 160


def wide_teacher() -> Task:
    """The answers of a random network of one hidden layer, in noise."""
    rng = np.random.default_rng(149)
    x = rng.standard_normal((1024, 24))
    hidden = np.tanh(x @ rng.standard_normal((24, 12)) / 3.0)
    y = hidden @ rng.standard_normal((12, 4)) + 0.2 * rng.standard_normal((1024, 4))
    return _split(x, _standardized(y), 768, squared_error)


def turned_patches() -> Task:
    """By how many right angles a patch of a photograph was turned."""
    x = data.patches(12, 1024).view(-1, 12, 12).numpy()
    turns = np.random.default_rng(151).integers(0, 4, len(x))
    turned = np.stack([np.rot90(patch, k) for patch, k in zip(x, turns, strict=True)])
    return _split(turned[:, None], turns.astype(np.int64), 768, cross_entropy)


def running_sum(length: int = 10, modulus: int = 5) -> Task:
    """The sum so far of a row of numbers, modulo five, after every one of them."""
    x = np.random.default_rng(157).integers(0, modulus, (768, length))
    return _split(x, np.cumsum(x, axis=1) % modulus, 512, cross_entropy)


def sorting(length: int = 7, kinds: int = 16) -> Task:
    """Read a row of numbers, then write it in ascending order."""
    row = np.random.default_rng(163).integers(0, kinds, (1024, length))
    x = np.concatenate([row, np.full((1024, length), kinds)], axis=1)
    y = np.concatenate([np.full((1024, length), -100), np.sort(row, axis=1)], axis=1)
    return _split(x, y, 768, cross_entropy)


def inpainting() -> Task:
    """The whole patch of a photograph of which a square in the middle was cut out."""
    whole = data.patches(12, 768)
    cut = whole.clone().view(-1, 12, 12)
    cut[:, 3:9, 3:9] = 0.0
    y = whole.view(-1, 12, 12)[:, 3:9, 3:9].reshape(len(whole), -1)
    return Task(cut[:512, None], y[:512], cut[512:, None], y[512:], squared_error)


def spectra(points: int = 256, kinds: int = 12) -> Task:
    """Which substance a noisy spectrum of peaks belongs to."""
    rng = np.random.default_rng(167)
    axis = np.linspace(0.0, 1.0, points)
    places, heights = rng.uniform(0.05, 0.95, (kinds, 6)), rng.uniform(0.2, 1.0, (kinds, 6))
    label = rng.integers(0, kinds, 896)
    moved = places[label] + 0.012 * rng.standard_normal((896, 6))
    lines = heights[label][..., None] * np.exp(-(((axis - moved[..., None]) / 0.015) ** 2))
    x = lines.sum(1) + 0.35 * rng.standard_normal((896, points))
    return _split(_standardized(x), label.astype(np.int64), 640, cross_entropy)


class TurnedPatches(nn.Module):
    """Two strided convolutions before a wide dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 24, 3, 2, 1), nn.Conv2d(24, 64, 3, 2, 1)
        self.wide, self.out = nn.Linear(576, 512), nn.Linear(512, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.two(torch.relu(self.one(x)))).flatten(1)
        return self.out(torch.relu(self.wide(h)))


class Inpainter(nn.Module):
    """Convolutions, a narrow dense middle, and a dense way back to the pixels that are missing."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 24, 3, 2, 1), nn.Conv2d(24, 64, 3, 2, 1)
        self.code, self.back = nn.Linear(576, 420), nn.Linear(420, 576)
        self.out = nn.Linear(576, 36)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.gelu(self.two(nn.functional.gelu(self.one(x)))).flatten(1)
        h = h + nn.functional.gelu(self.back(nn.functional.gelu(self.code(h))))
        return self.out(h)


SUPERVISED: dict[str, tuple[Callable[[], Task], Callable[[], nn.Module], int]] = {
    "source_decoder": (
        lambda: data.characters(16, 768),
        lambda: first.Transformer((64, 128, 64), 16, 3, True),
        8,
    ),
    "teacher_wide": (wide_teacher, lambda: first.mlp([24, 900, 900, 4], nn.GELU), 32),
    "patches_turned": (turned_patches, TurnedPatches, 32),
    "counting_lstm": (running_sum, lambda: networks.CharacterLSTM(5, 16, 280), 16),
    "words_lstm": (
        lambda: data.words(10, 1024, 1500),
        lambda: networks.CharacterLSTM(1500, 160, 256),
        8,
    ),
    "sorting_transformer": (sorting, lambda: first.Transformer((17, 160, 16), 14, 2, True), 16),
    "patches_inpainting": (inpainting, Inpainter, 32),
    "spectra_wide": (
        spectra,
        lambda: first.mlp([256, 1300, 1000, 12], nn.ReLU, norm=True),
        32,
    ),
}
