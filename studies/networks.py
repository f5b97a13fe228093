"""Networks of one to eight thousand weights, one per architecture; ways to spoil their start."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(
    sizes: list[int], act: type[nn.Module], dropout: float = 0.0, norm: bool = False
) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers.append(nn.Linear(before, after))
        if norm:
            layers.append(nn.BatchNorm1d(after))
        layers.append(act())
        if dropout:
            layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(sizes[-2], sizes[-1]))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """x + f(x) blocks between a reading and a writing layer."""

    def __init__(self, sizes: tuple[int, int, int], blocks: int, dropout: float, norm: bool):
        super().__init__()
        inputs, width, outputs = sizes
        self.read = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            mlp([width, width, width], nn.ReLU, dropout, norm) for _ in range(blocks)
        )
        self.write = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.read(x)
        for block in self.blocks:
            h = h + block(h)
        return self.write(torch.relu(h))


class ConvImage(nn.Module):
    """Strided convolutions over 8 x 8 images; ``extra`` more of the last width at stride 1."""

    def __init__(self, extra: int, dropout: float, norm: bool):
        super().__init__()
        steps: list[nn.Module] = []
        for before, after, stride in [(1, 6, 1), (6, 12, 2), *[(12, 12, 1)] * extra, (12, 16, 2)]:
            steps.append(nn.Conv2d(before, after, 3, stride, 1))
            if norm:
                steps.append(nn.BatchNorm2d(after))
            steps.append(nn.ReLU())
        self.features = nn.Sequential(*steps)
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.drop(self.features(x).flatten(1)))


class ConvSeries(nn.Module):
    """1-D convolutions; the mean over time is classified, or every position is."""

    def __init__(
        self, depth: int, width: int, classes: int, per_position: bool, dropout: float = 0.0
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(1 if i == 0 else width, width, 3, padding=1) for i in range(depth)
        )
        self.drop = nn.Dropout(dropout)
        self.classify = nn.Linear(width, classes)
        self.per_position = per_position

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        x = x.transpose(1, 2)
        return self.classify(self.drop(x if self.per_position else x.mean(1)))


class Block(nn.Module):
    """A pre-norm transformer block with one head."""

    def __init__(self, width: int, causal: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        score = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        if self.causal:
            score = score + torch.full(score.shape[-2:], -1e9).triu(1)
        x = x + self.out(torch.softmax(score, -1) @ v)
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Reads tokens (ids or vectors); answers per token, or once from the mean."""

    def __init__(
        self,
        sizes: tuple[int, int, int],
        length: int,
        blocks: int,
        language: bool,
        dropout: float = 0.0,
    ):
        super().__init__()
        inputs, width, outputs = sizes
        self.embed: nn.Module = (
            nn.Embedding(inputs, width) if language else nn.Linear(inputs, width)
        )
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, language) for _ in range(blocks))
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        self.language = language

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place
        for block in self.blocks:
            h = block(h)
        h = self.drop(self.norm(h))
        return self.head(h if self.language else h.mean(1))


class Recurrent(nn.Module):
    """A GRU or Elman cell; classifies its last state, or predicts the next token at every step."""

    def __init__(
        self, sizes: tuple[int, int, int], language: bool, gated: bool, dropout: float = 0.0
    ):
        super().__init__()
        inputs, width, outputs = sizes
        self.embed: nn.Module = nn.Embedding(inputs, 8) if language else nn.Identity()
        cell = nn.GRU if gated else nn.RNN
        self.cell = cell(8 if language else inputs, width, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)
        self.language = language

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.cell(self.embed(x))
        return self.head(self.drop(h if self.language else h[:, -1]))


class GraphNetwork(nn.Module):
    """Graph convolutions; the input holds node features next to the normalized adjacency."""

    def __init__(self, features: int, width: int, classes: int, depth: int, dropout: float = 0.0):
        super().__init__()
        self.features = features
        self.layers = nn.ModuleList(
            nn.Linear(2 * (features if i == 0 else width), width) for i in range(depth)
        )
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h, adjacency = x[:, : self.features], x[:, self.features :]
        for layer in self.layers:
            h = torch.relu(layer(torch.cat([h, adjacency @ h], dim=1)))
        return self.head(self.drop(h))


@torch.no_grad()
def spoil(net: nn.Module, init: str, seed: int) -> None:
    """Overwrite the default initialization with one that is known from practice to go wrong."""
    matrices = [p for p in net.parameters() if p.ndim >= 2]
    vectors = [p for name, p in net.named_parameters() if p.ndim == 1 and name.endswith("bias")]
    if init == "tiny":
        for p in matrices + vectors:
            p.mul_(1e-3)
    elif init == "huge":
        for p in matrices:
            p.mul_(8.0)
    elif init == "zero":
        for p in matrices + vectors:
            p.zero_()
    elif init == "symmetric":
        for p in matrices:
            p.copy_(p.mean(0, keepdim=True).expand_as(p) + 0.05)
        for p in vectors:
            p.fill_(0.01)
    elif init == "dead":
        for p in vectors[:-1]:
            p.fill_(-12.0)
    elif init == "broken_layer":
        generator = torch.Generator().manual_seed(seed)
        which = int(torch.randint(0, len(matrices), (1,), generator=generator))
        kind = int(torch.randint(0, 3, (1,), generator=generator))
        matrices[which].mul_((0.0, 40.0, 1e-4)[kind])
    elif init != "default":
        raise ValueError(init)
