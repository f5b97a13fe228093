"""The three small networks of the sample runs, and the ways in which one of them starts badly.

A builder takes the shape of one input and the number of outputs; its keywords are what a recipe
records about the architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]


class MLP(nn.Module):
    """Fully connected layers with ReLU between them."""

    def __init__(self, shape: Shape, outputs: int, *, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [math.prod(shape), *hidden]
        self.hidden = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        state = inputs.flatten(1)
        for layer in self.hidden:
            state = functional.relu(layer(state))
        return self.head(state)


class CNN(nn.Module):
    """Two convolutions with batch normalisation, then one linear layer."""

    def __init__(self, shape: Shape, outputs: int, *, channels: tuple[int, int]) -> None:
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(shape[0], first, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(second)
        self.head = nn.Linear(second * (shape[1] // 4) * (shape[2] // 4), outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        state = functional.max_pool2d(functional.relu(self.norm1(self.conv1(inputs))), 2)
        state = functional.max_pool2d(functional.relu(self.norm2(self.conv2(state))), 2)
        return self.head(state.flatten(1))


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each normalised first and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, state: Tensor) -> Tensor:
        state = state + self.attend(self.norm1(state))
        return state + self.down(functional.gelu(self.up(self.norm2(state))))

    def attend(self, state: Tensor) -> Tensor:
        batch, length, width = state.shape
        split = self.qkv(state).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
        mixed = torch.softmax(scores, dim=-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Transformer(nn.Module):
    """Reads an image as a sequence of its rows and classifies the mean of the last states."""

    def __init__(self, shape: Shape, outputs: int, *, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        _, rows, columns = shape
        self.embed = nn.Linear(columns, width)
        self.position = nn.Parameter(0.02 * torch.randn(rows, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        state = self.embed(inputs[:, 0]) + self.position
        for block in self.blocks:
            state = block(state)
        return self.head(self.norm(state).mean(dim=1))


def silence_second_layer(network: nn.Module) -> None:
    """Set the second hidden layer's biases so low that none of its ReLUs ever fires."""
    nn.init.constant_(network.get_parameter("hidden.1.bias"), -10.0)


def make_units_equal(network: nn.Module) -> None:
    """Set every weight to the same small value: all units of a layer stay copies of one."""
    for weights in network.parameters():
        nn.init.constant_(weights, 0.02)


def silence_most_units(network: nn.Module) -> None:
    """Set the biases of two thirds of the first hidden layer so low that they never fire."""
    biases = network.get_parameter("hidden.0.bias")
    nn.init.constant_(biases[: 2 * len(biases) // 3], -10.0)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "cnn": CNN,
    "transformer": Transformer,
}
INITIALIZATIONS: dict[str, Callable[[nn.Module], None]] = {
    "default": lambda network: None,
    "dead second layer": silence_second_layer,
    "all weights equal": make_units_equal,
    "most units dead": silence_most_units,
}
