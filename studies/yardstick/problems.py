"""Problems: a network, the gradient of a minibatch, and how good it is on all data.

What is not supervised learning from pairs has its own function of the data and of random numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from studies import tasks

#: Samples of either set that a measurement looks at, at most, unless told otherwise.
MEASURED = 384

Batch = tuple[Tensor, ...]
Function = Callable[[Any, Batch, torch.Generator], Tensor]


class Problem(ABC):
    """What a run is trained on.

    Attributes
    ----------
    net
        The network.
    chance
        Training and validation loss of an answer that knows nothing; measured from the unspoiled
        start where ``None``.
    """

    net: nn.Module
    chance: tuple[float, float] | None = None

    @abstractmethod
    def backward(self, generator: torch.Generator) -> float:
        """Add the gradient of a minibatch and return its loss."""

    @abstractmethod
    def measure(self) -> tuple[float, float]:
        """Return the training and the validation loss on all data."""

    def shift(self) -> None:  # noqa: B027
        """Change the data, in the middle of a run."""


class Sampled(Problem):
    """Minibatches of tensors, and a function that makes a loss of them."""

    def __init__(
        self,
        net: nn.Module,
        function: Function,
        train: Batch,
        held: Batch,
        chance: tuple[float, float] | None = None,
        batch: int = 32,
        measured: int = MEASURED,
    ):
        self.net, self.function, self.train, self.held = net, function, train, held
        self.chance, self.batch, self.measured = chance, batch, measured
        self.order = torch.empty(0, dtype=torch.int64)

    def backward(self, generator: torch.Generator) -> float:
        if self.batch >= len(self.train[0]):
            batch = self.train
        else:
            if len(self.order) < self.batch:
                self.order = torch.randperm(len(self.train[0]), generator=generator)
            index, self.order = self.order[: self.batch], self.order[self.batch :]
            batch = tuple(part[index] for part in self.train)
        loss = self.function(self.net, batch, generator)
        loss.backward()
        return float(loss.detach())

    @torch.no_grad()
    def _on(self, data: Batch) -> float:
        some = tuple(part[: self.measured] for part in data)
        return float(self.function(self.net, some, torch.Generator().manual_seed(0)))

    def measure(self) -> tuple[float, float]:
        self.net.eval()
        found = self._on(self.train), self._on(self.held)
        self.net.train()
        return found


def _chance(task: tasks.Task) -> tuple[float, float] | None:
    """Return both losses of the constant answer that suits the training set best."""
    if task.loss is tasks.squared_error:
        mean = task.y.mean(0)
        return float((task.y - mean).square().mean()), float((task.y_val - mean).square().mean())
    if task.loss is not tasks.cross_entropy:
        return None
    y, held = task.y[task.y >= 0], task.y_val[task.y_val >= 0]
    counts = torch.bincount(y.flatten(), minlength=int(max(y.max(), held.max())) + 1) + 0.5
    log_share = (counts / counts.sum()).log()
    return -float(log_share[y].mean()), -float(log_share[held].mean())


class Supervised(Sampled):
    """Pairs of inputs and targets."""

    def __init__(self, net: nn.Module, task: tasks.Task, batch: int = 32, measured: int = MEASURED):
        def function(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
            return task.loss(net(batch[0]), batch[1])

        size = len(task.x) if task.full_batch else batch
        super().__init__(
            net,
            function,
            (task.x, task.y),
            (task.x_val, task.y_val),
            _chance(task),
            size,
            measured,
        )
        self.full_batch = task.full_batch

    def _on(self, data: Batch) -> float:
        if not self.full_batch:
            return super()._on(data)
        with torch.no_grad():
            return float(self.function(self.net, data, torch.Generator()))

    def shift(self) -> None:
        """Move every input a little, or exchange some of the tokens: now it is another set."""
        generator = torch.Generator().manual_seed(5)
        x, held = self.train[0], self.held[0]
        if self.full_batch:
            return
        if x.dtype == torch.int64:
            kinds = int(max(x.max(), held.max())) + 1
            swap = torch.arange(kinds)
            narrow = int(x.max(0).values.min()) + 1
            if 1.5 * narrow < kinds:  # columns of different kinds: stay inside the smallest
                kinds = narrow
            some = torch.randperm(kinds, generator=generator)[: max(2, kinds // 5)]
            swap[some] = some.roll(1)
            x, held = swap[x], swap[held]
        else:
            move = 0.8 * torch.randn(x.shape[1:], generator=generator)
            x, held = x + move, held + move
        self.train, self.held = (x, self.train[1]), (held, self.held[1])


def varied(task: tasks.Task, variant: str, seed: int) -> tasks.Task:
    """Return the task with wrong labels, few data, or one class that outnumbers the others."""
    if variant != "imbalanced" or task.full_batch:
        return tasks.vary(task, variant if variant in ("label_noise", "small") else "clean", seed)
    y = task.y
    if y.dtype == torch.int64 and y.ndim == 1:
        rare = y != y.mode().values
    else:
        size = y.float().flatten(1).mean(1)
        rare = size > size.median()
    generator = torch.Generator().manual_seed(seed)
    kept = ~rare | (torch.rand(len(y), generator=generator) < 0.2)
    return tasks.Task(task.x[kept], y[kept], task.x_val, task.y_val, task.loss)
