"""Optimizers over one flat vector of weights: a step costs a handful of vector operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class Flat:
    """A network's trained weights as views into one vector, and their gradients into another.

    Frozen parameters are part of ``weights`` but never change: their gradient stays zero.
    """

    def __init__(self, net: nn.Module) -> None:
        named = list(net.named_parameters())
        self.names = [name for name, _ in named]
        self.shapes = [tuple(p.shape) for _, p in named]
        sizes = [p.numel() for _, p in named]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.spans = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        self.weights = torch.cat([p.detach().reshape(-1) for _, p in named]).clone()
        self.gradient = torch.zeros_like(self.weights)
        self.trained = torch.ones_like(self.weights)
        for (_, p), span, shape in zip(named, self.spans, self.shapes, strict=True):
            p.data = self.weights[span].view(shape)
            if p.requires_grad:
                p.grad = self.gradient[span].view(shape)
            else:
                self.trained[span] = 0.0


@dataclass
class Optimizer:
    """One of ``plan.OPTIMIZERS`` with decoupled weight decay for AdamW and Lion."""

    flat: Flat
    name: str
    decay: float

    def __post_init__(self) -> None:
        self.first = torch.zeros_like(self.flat.weights)
        self.second = torch.zeros_like(self.flat.weights)
        self.count = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        w, g = self.flat.weights, self.flat.gradient
        self.count += 1
        if self.decay:
            if self.name in ("adamw", "lion"):
                w.sub_(w * self.flat.trained, alpha=min(1.0, 10.0 * rate * self.decay))
            else:
                g.add_(w * self.flat.trained, alpha=self.decay)
        if self.name == "sgd":
            w.sub_(g, alpha=rate)
        elif self.name == "momentum":
            self.first.mul_(0.9).add_(g)
            w.sub_(self.first, alpha=rate)
        elif self.name in ("adam", "adamw"):
            self.first.lerp_(g, 0.1)
            self.second.mul_(0.999).addcmul_(g, g, value=0.001)
            scale = (self.second / (1.0 - 0.999**self.count)).sqrt_().add_(1e-8)
            w.addcdiv_(self.first, scale, value=-rate / (1.0 - 0.9**self.count))
        elif self.name == "rmsprop":
            self.second.mul_(0.99).addcmul_(g, g, value=0.01)
            w.addcdiv_(g, self.second.sqrt().add_(1e-8), value=-rate)
        elif self.name == "lion":
            w.sub_(torch.lerp(self.first, g, 0.1).sign_(), alpha=rate)
            self.first.lerp_(g, 0.01)
        elif self.name == "muon":
            self.first.mul_(0.9).add_(g)
            self._orthogonal(rate)
        else:
            raise ValueError(self.name)
        g.zero_()

    def _orthogonal(self, rate: float) -> None:
        """Move matrices along the nearest orthogonal matrix of the momentum, vectors by sign."""
        for span, shape in zip(self.flat.spans, self.flat.shapes, strict=True):
            part = self.first[span]
            if len(shape) < 2 or not part.any():
                self.flat.weights[span].sub_(part.sign(), alpha=0.1 * rate)
                continue
            step = _orthogonalized(part.view(shape[0], -1))
            size = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
            self.flat.weights[span].sub_(step.reshape(-1), alpha=0.3 * rate * size)


def _orthogonalized(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Newton and Schulz's iteration towards U V^T."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-12)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(rounds):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.T


def rate_at(schedule: str, step: int, budget: int) -> float:
    """Return the factor on the rate; after the budget, cycles start again and drops stay."""
    part = step / budget
    inside = part % 1.0
    half = lambda u: 0.5 * (1.0 + float(torch.cos(torch.tensor(torch.pi * u))))  # noqa: E731
    if schedule == "step":
        return 1.0 if part < 0.5 else 0.2 if part < 0.75 else 0.04
    if schedule == "drop":
        return 1.0 if part < 0.6 else 0.1
    if schedule == "cosine":
        return half(inside)
    if schedule == "linear":
        return 1.0 - 0.98 * inside
    if schedule == "warmup":
        return min(1.0, 0.02 + part / 0.15)
    if schedule == "warmup_cosine":
        return min(1.0, 0.02 + part / 0.1) * half(inside)
    if schedule == "one_cycle":
        return 0.1 + 2.4 * inside if inside < 0.3 else 0.82 * half((inside - 0.3) / 0.7) + 0.002
    if schedule == "restarts":
        return half((4.0 * part) % 1.0)
    return 1.0


def rates(schedule: str, budget: int, total: int) -> Sequence[float]:
    return [rate_at(schedule, step, budget) for step in range(total)]
