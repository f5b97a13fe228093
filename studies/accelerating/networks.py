"""The networks of the study, with their data: bundled, synthesized, or Python's own library.

Three are there to choose rules on; the others were looked at only after that.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from studies import networks, tasks
from studies.families import FAMILIES


@dataclass(frozen=True)
class Network:
    """A network and how long it trains.

    Attributes
    ----------
    task, make
        Its data, and a fresh network.
    epochs, steps
        Epochs, or stretches of training as long as one, and minibatches in each.
    batch
        Examples in a minibatch.
    tuning
        Whether rules were chosen on it.
    """

    task: Callable[[], tasks.Task]
    make: Callable[[], nn.Module]
    epochs: int
    steps: int
    batch: int = 32
    tuning: bool = False


class WideConv(nn.Module):
    """Three convolutions with batch norms over 8 x 8 images: 117,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for before, after, stride in [(1, 32, 2), (32, 64, 1), (64, 160, 2)]:
            steps += [
                nn.Conv2d(before, after, 3, stride, 1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*steps)
        self.classify = nn.Linear(640, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x).flatten(1))


class GatedText(nn.Module):
    """A GRU that predicts the next character: 104,000 weights."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, 32)
        self.cell = nn.GRU(32, 160, batch_first=True)
        self.head = nn.Linear(160, characters)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.cell(self.embed(x))
        return self.head(h)


CHARACTERS = 96  # printable ASCII and the end of a line; all else is left out
CONTEXT = 24
SOURCES = ("argparse", "ast", "calendar", "difflib", "inspect", "pathlib", "textwrap", "typing")


@cache
def source_text() -> tasks.Task:
    """Return pieces of the standard library's source, and each piece's next characters."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = (folder / f"{name}.py" for name in SOURCES)
    text = "".join(path.read_text(encoding="utf-8") for path in found if path.exists())
    codes = np.array(
        [0 if c == "\n" else ord(c) - 31 for c in text if " " <= c <= "~" or c == "\n"]
    )
    rows = codes[: len(codes) // (CONTEXT + 1) * (CONTEXT + 1)].reshape(-1, CONTEXT + 1)
    order = np.random.default_rng(7).permutation(len(rows))
    pieces = torch.as_tensor(rows[order], dtype=torch.int64)
    train, held = pieces[:4096], pieces[4096:4352]
    return tasks.Task(train[:, :-1], train[:, 1:], held[:, :-1], held[:, 1:], tasks.cross_entropy)


@cache
def teacher() -> tasks.Task:
    """Return what a random network answers to random inputs, with noise."""
    rng = np.random.default_rng(43)
    x = rng.standard_normal((1280, 32))
    first, second = rng.standard_normal((32, 24)) / 32**0.5, rng.standard_normal((24, 1))
    y = np.tanh(2.0 * x @ first) @ second
    y = (y - y.mean()) / y.std() + 0.1 * rng.standard_normal(y.shape)
    return tasks._split(x, y, 1024, tasks.squared_error)


@cache
def digits() -> tasks.Task:
    return tasks.digits(train=1024)


@cache
def digit_images() -> tasks.Task:
    return tasks.digits(as_image=True, train=1024)


@cache
def reconstruction() -> tasks.Task:
    task = digits()
    return tasks.Task(task.x, task.x, task.x_val, task.x_val, tasks.squared_error)


def _family(name: str) -> Callable[[], nn.Module]:
    return lambda: FAMILIES[name].network(0.0, False)


def _mlp(*sizes: int) -> Callable[[], nn.Module]:
    return lambda: networks.mlp(list(sizes), nn.ReLU)


NETWORKS: dict[str, Network] = {
    "digits_mlp": Network(digits, _family("digits_mlp"), 40, 16, tuning=True),
    "digits_coder_131k": Network(reconstruction, _mlp(64, 512, 64, 512, 64), 24, 16, tuning=True),
    "grammar_transformer": Network(
        cache(FAMILIES["grammar_transformer"].task),
        _family("grammar_transformer"),
        24,
        12,
        tuning=True,
    ),
    "digits_residual": Network(digits, _family("digits_residual"), 30, 16),
    "diabetes_mlp": Network(cache(FAMILIES["diabetes_mlp"].task), _family("diabetes_mlp"), 30, 16),
    "grammar_gru": Network(cache(FAMILIES["grammar_gru"].task), _family("grammar_gru"), 24, 12),
    "digits_conv_117k": Network(digit_images, WideConv, 16, 16, 16),
    "teacher_mlp_381k": Network(teacher, _mlp(32, 600, 600, 1), 20, 16),
    "code_transformer_166k": Network(
        source_text,
        lambda: networks.Transformer((CHARACTERS, 96, CHARACTERS), CONTEXT, 2, True),
        20,
        10,
        8,
    ),
    "code_gru_121k": Network(source_text, lambda: GatedText(CHARACTERS), 20, 10, 8),
}
