"""Architectures that the first networks of the studies do not have."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class CharacterLSTM(nn.Module):
    """An LSTM over embedded tokens that predicts the next one."""

    def __init__(self, kinds: int, embedded: int, width: int):
        super().__init__()
        self.embed = nn.Embedding(kinds, embedded)
        self.cell = nn.LSTM(embedded, width, batch_first=True)
        self.head = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.embed(x))[0])


class WordGRU(nn.Module):
    """The same with a GRU."""

    def __init__(self, kinds: int, embedded: int, width: int):
        super().__init__()
        self.embed = nn.Embedding(kinds, embedded)
        self.cell = nn.GRU(embedded, width, batch_first=True)
        self.head = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.embed(x))[0])


class SeriesGRU(nn.Module):
    """Reads a series of vectors and answers from the last state."""

    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.cell = nn.GRU(inputs, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Mixer(nn.Module):
    """Mixes over rows, then over columns, of 8 x 8 images."""

    def __init__(self, width: int, hidden: int, blocks: int, classes: int):
        super().__init__()
        self.read = nn.Linear(8, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * blocks))
        self.tokens = nn.ModuleList(
            nn.Sequential(nn.Linear(8, hidden), nn.GELU(), nn.Linear(hidden, 8))
            for _ in range(blocks)
        )
        self.channels = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.read(x.view(-1, 8, 8))
        for index, (tokens, channels) in enumerate(zip(self.tokens, self.channels, strict=True)):
            mixed = tokens(self.norms[2 * index](h).transpose(1, 2))
            h = h + mixed.transpose(1, 2)
            h = h + channels(self.norms[2 * index + 1](h))
        return self.head(h.mean(1))


class Factors(nn.Module):
    """A rating from two embeddings and two biases."""

    def __init__(self, users: int, items: int, width: int):
        super().__init__()
        self.users, self.items = nn.Embedding(users, width), nn.Embedding(items, width)
        self.mix = nn.Linear(width, 1)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.users(x[:, 0]) * self.items(x[:, 1]))


class Experts(nn.Module):
    """A softmax gate over small networks."""

    def __init__(self, inputs: int, hidden: int, outputs: int, experts: int):
        super().__init__()
        self.gate = nn.Linear(inputs, experts)
        self.up = nn.Parameter(torch.randn(experts, inputs, hidden) / inputs**0.5)
        self.down = nn.Parameter(torch.randn(experts, hidden, outputs) / hidden**0.5)
        self.bias = nn.Parameter(torch.zeros(experts, hidden))

    def forward(self, x: Tensor) -> Tensor:
        share = torch.softmax(self.gate(x), -1)
        h = torch.relu(torch.einsum("bi,eih->beh", x, self.up) + self.bias)
        return torch.einsum("beh,eho,be->bo", h, self.down, share)


class LowRank(nn.Module):
    """A frozen linear layer with a trained update of low rank beside it."""

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        self.base = base
        for p in base.parameters():
            p.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.lora_a.T @ self.lora_b.T


class PairNetwork(nn.Module):
    """Embeds two symbols and answers with one of as many."""

    def __init__(self, kinds: int, width: int, hidden: int):
        super().__init__()
        self.embed = nn.Embedding(kinds, width)
        self.up, self.down = nn.Linear(2 * width, hidden), nn.Linear(hidden, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(self.embed(x).flatten(1))))


class Denoiser(nn.Module):
    """Convolutions from a noisy 10 x 10 patch to the clean one."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.middle = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x.view(-1, 1, 10, 10)))
        return self.last(torch.relu(self.middle(h))).flatten(1)


class Variational(nn.Module):
    """A variational autoencoder of vectors."""

    def __init__(self, inputs: int, hidden: int, code: int):
        super().__init__()
        self.read, self.code = nn.Linear(inputs, hidden), nn.Linear(hidden, 2 * code)
        self.write, self.out = nn.Linear(code, hidden), nn.Linear(hidden, inputs)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.code(torch.relu(self.read(x))).chunk(2, dim=1)
        log_variance = log_variance.clamp(-8.0, 8.0)
        z = mean + torch.exp(0.5 * log_variance) * noise
        extra = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(1).mean()
        return self.out(torch.relu(self.write(z))), extra


class Adversaries(nn.Module):
    """A generator of digits and what tells them from real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64), nn.Tanh())
        self.judge = nn.Sequential(nn.Linear(64, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))


class Sines(nn.Module):
    """Sinusoidal layers from coordinates to a signal (Sitzmann et al. 2020)."""

    def __init__(self, inputs: int, width: int, outputs: int, blocks: int):
        super().__init__()
        sizes = [inputs, *[width] * blocks]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(width, outputs)
        with torch.no_grad():
            for index, layer in enumerate(self.layers):
                bound = 1.0 / inputs if index == 0 else (6.0 / width) ** 0.5 / 12.0
                layer.weight.uniform_(-bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(12.0 * layer(x))
        return self.head(x)


class Isomorphism(nn.Module):
    """Sums over neighbours, small networks, the sum over nodes (Xu et al. 2019)."""

    def __init__(self, width: int, layers: int, classes: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Linear(1 if i == 0 else width, width), nn.ReLU(), nn.Linear(width, width)
            )
            for i in range(layers)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = x.sum(-1, keepdim=True) / 4.0
        for layer in self.layers:
            h = torch.relu(layer(h + 0.3 * x @ h))
        return self.head(h.mean(1))


class Delayed(nn.Module):
    """Dilated convolutions over a series; the last position answers."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv1d(1, width, 3, padding=2)
        self.second = nn.Conv1d(width, width, 3, padding=4, dilation=2)
        self.third = nn.Conv1d(width, width, 3, padding=8, dilation=4)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        h = torch.relu(self.first(x)[..., :length])
        h = h + torch.relu(self.second(h)[..., :length])
        h = h + torch.relu(self.third(h)[..., :length])
        return self.head(h[..., -1])


def normed(sizes: list[int]) -> nn.Module:
    """Layer normalization and GELU between linear layers."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
