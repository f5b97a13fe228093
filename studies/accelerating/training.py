"""Trains one network by one way, and writes down the losses against what they cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from studies import tasks
from studies.accelerating.networks import NETWORKS
from studies.accelerating.ways import FORWARD, PlainAveraged, Trial, Way, lent
from studies.training import evaluate

#: Training examples that the loss is taken on, after every stretch, outside of what is counted.
SEEN = 512


@dataclass
class Course:
    """What was seen; one entry per stretch of training.

    Attributes
    ----------
    cost
        Gradient evaluations until then, in minibatches.
    loss, held_out
        On training and on validation data.
    """

    cost: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    def reached(self, target: float) -> float | None:
        """Return the cost at which the loss was first at or below the target."""
        pairs = zip(self.cost, self.loss, strict=True)
        return next((cost for cost, loss in pairs if loss <= target), None)


@dataclass
class Trained:
    """Courses by name (a plain training has those of its averages as well), seconds, jumps."""

    courses: dict[str, Course]
    seconds: float
    counts: tuple[int, int, int]
    way: Way


def trained(
    kind: str,
    optimizer: str,
    rate: float,
    seed: int,
    make: Callable[[Trial], Way],
    until: float = 1.0,
    target: float | None = None,
) -> Trained:
    """Train a network until it has cost as much as plain training's ``until`` budgets.

    Parameters
    ----------
    kind
        Name of the network.
    target
        Stop as soon as this training loss is reached.
    """
    network = NETWORKS[kind]
    torch.manual_seed(seed)
    task, net = network.task(), network.make()
    began = time.process_time()
    way = make(Trial(net, network, optimizer, rate, seed))
    spent = time.process_time() - began
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    courses: dict[str, Course] = {}
    cost, budget = 0.0, until * network.epochs * network.steps
    while cost < budget - 1e-6:
        began = time.process_time()
        total = 0.0
        for _ in range(network.steps):
            if len(order) < network.batch:
                order = torch.randperm(len(task.x), generator=generator)
            index, order = order[: network.batch], order[network.batch :]
            total += _step(way, task.x[index], task.y[index], task.loss)
        way.after_epoch(total / network.steps)
        spent += time.process_time() - began
        cost = cost + network.steps
        _note(courses, way, task, cost + FORWARD * way.forwards)
        last = courses["itself"]
        if not math.isfinite(last.loss[-1]) and len(last.loss) > 3:
            break
        if target is not None and last.loss[-1] <= target:
            break
        if cost + FORWARD * way.forwards >= budget:
            break
    return Trained(courses, spent, way.counts(), way)


def _step(way: Way, x: Tensor, y: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]) -> float:
    way.optimizer.zero_grad()
    loss = loss_of(way.net(x), y)
    loss.backward()
    way.optimizer.step()
    way.after_step()
    return float(loss.detach())


def _note(courses: dict[str, Course], way: Way, task: tasks.Task, cost: float) -> None:
    with way.judged():
        _losses(courses.setdefault("itself", Course()), way, task, cost)
    if isinstance(way, PlainAveraged):
        for name, values in way.views().items():
            with lent(way.net, values):
                _losses(courses.setdefault(name, Course()), way, task, cost)


def _losses(course: Course, way: Way, task: tasks.Task, cost: float) -> None:
    loss = _loss(way.net, task, task.x[:SEEN], task.y[:SEEN])
    held_out = _loss(way.net, task, task.x_val, task.y_val)
    course.cost.append(cost)
    course.loss.append(loss if math.isfinite(loss) else math.inf)
    course.held_out.append(held_out if math.isfinite(held_out) else math.inf)


def _loss(net: nn.Module, task: tasks.Task, x: Tensor, y: Tensor) -> float:
    """Return a loss; batch norms judge by the statistics of the data itself, and forget it."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    buffers = [(b, b.clone()) for b in net.buffers()]
    if norms:
        net.train()
        with torch.no_grad():
            value = float(task.loss(net(x), y))
        for buffer, values in buffers:
            buffer.copy_(values)
        return value
    return evaluate(net, task, x, y)
