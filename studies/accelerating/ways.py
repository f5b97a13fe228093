"""Ways of training, each told about the network after every step and stretch of training.

What is handed out at a moment, ``judged``, is what counts; what it costs is counted in gradient
evaluations, of which a forward pass is a third.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from koopscope.integrations.torch.accelerator import KoopmanAccelerator
from koopscope.integrations.torch.parameter_window import ForecastRule
from studies.accelerating.networks import Network
from studies.forecasting.accelerated import Published, StraightWindow
from studies.training import make_optimizer

#: Of a gradient evaluation, what a forward pass costs.
FORWARD = 1.0 / 3.0

#: Shares of a running average that are kept at each step, and snapshots of the latest average.
EMA_DECAYS = (0.9, 0.98)
LATEST = 5

#: Steps to the front, and how far back to them (Zhang et al. 2019, arXiv 1907.08610).
LOOKAHEAD_STEPS, LOOKAHEAD_BACK = 5, 0.5


@dataclass
class Trial:
    """What a way of training is given."""

    net: nn.Module
    network: Network
    optimizer_name: str
    rate: float
    seed: int


class Way:
    """The optimizer alone."""

    name = "plain"

    def __init__(self, trial: Trial) -> None:
        self.trial, self.net = trial, trial.net
        self.optimizer = make_optimizer(trial.net, trial.optimizer_name, trial.rate, 0.0)
        self.forwards = 0.0  # forward passes of its own, in minibatches

    def after_step(self) -> None:
        pass

    def after_epoch(self, loss: float) -> None:
        pass

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Lend the network the weights that would be handed out now."""
        yield

    def counts(self) -> tuple[int, int, int]:
        """Return how many jumps were kept, taken back and rejected."""
        return 0, 0, 0


@contextmanager
def lent(net: nn.Module, values: list[Tensor]) -> Iterator[None]:
    """Lend the network other weights."""
    parameters = list(net.parameters())
    own = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        torch._foreach_copy_(parameters, values)
    yield
    with torch.no_grad():
        torch._foreach_copy_(parameters, own)


class PlainAveraged(Way):
    """Plain training with its averages, which are looked at only: EMA and LAWA."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.parameters = list(self.net.parameters())
        self.averages = [[p.detach().clone() for p in self.parameters] for _ in EMA_DECAYS]
        self.latest: deque[list[Tensor]] = deque(maxlen=LATEST)

    @torch.no_grad()
    def after_step(self) -> None:
        for decay, average in zip(EMA_DECAYS, self.averages, strict=True):
            torch._foreach_lerp_(average, self.parameters, 1.0 - decay)

    def after_epoch(self, loss: float) -> None:
        self.latest.append([p.detach().clone() for p in self.parameters])

    def views(self) -> dict[str, list[Tensor]]:
        """Return the averaged weights by name."""
        found = {
            f"ema_{decay:g}": average
            for decay, average in zip(EMA_DECAYS, self.averages, strict=True)
        }
        found["lawa"] = [torch.stack(values).mean(0) for values in zip(*self.latest, strict=True)]
        return found


class Koopman(Way):
    """The accelerator without a look."""

    name = "koopman"

    def __init__(self, trial: Trial, **options: Any) -> None:
        super().__init__(trial)
        self.accelerator = KoopmanAccelerator(self.net, self.optimizer, **options)

    def after_epoch(self, loss: float) -> None:
        self.accelerator.after_epoch(loss)

    def counts(self) -> tuple[int, int, int]:
        report = self.accelerator.report()
        return report.kept, report.rolled_back, report.rejected


class Straight(Koopman):
    """The accelerator without a look, straight on along the mean of the last increments."""

    name = "straight"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial, horizon=5.0)
        self.accelerator._window = StraightWindow(
            self.net, 5, ForecastRule("network", "increments", "pdt")
        )
        self.accelerator._window.begin()


class Looking(Koopman):
    """The accelerator with ``evaluate``: a few fresh minibatches, the same for all candidates."""

    name = "evaluate"
    batches = 2

    def __init__(self, trial: Trial, **options: Any) -> None:
        self.task = trial.network.task()
        self.generator = torch.Generator().manual_seed(1000 + trial.seed)
        self.draw(trial)
        super().__init__(trial, evaluate=self.loss, **options)

    def draw(self, trial: Trial) -> None:
        many = min(self.batches * trial.network.batch, len(self.task.x))
        index = torch.randperm(len(self.task.x), generator=self.generator)[:many]
        self.x, self.y = self.task.x[index], self.task.y[index]
        self.cost = many / trial.network.batch

    def loss(self) -> Tensor:
        self.forwards += self.cost
        return self.task.loss(self.net(self.x), self.y)

    def after_epoch(self, loss: float) -> None:
        self.draw(self.trial)
        super().after_epoch(loss)

    @contextmanager
    def judged(self) -> Iterator[None]:
        with self.accelerator.averaged():
            yield


class Pdt(Way):
    """Predictive Differential Training as published."""

    name = "pdt"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.published = Published(self.net, self.optimizer)

    def after_epoch(self, loss: float) -> None:
        self.published.after_epoch(loss)

    def counts(self) -> tuple[int, int, int]:
        return self.published.counts()


class Lookahead(Way):
    """Slow weights that go half of the way every five steps; they are what is handed out."""

    name = "lookahead"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.parameters = list(self.net.parameters())
        self.slow = [p.detach().clone() for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def after_step(self) -> None:
        self.steps += 1
        if self.steps % LOOKAHEAD_STEPS == 0:
            torch._foreach_lerp_(self.slow, self.parameters, LOOKAHEAD_BACK)
            torch._foreach_copy_(self.parameters, self.slow)

    @contextmanager
    def judged(self) -> Iterator[None]:
        with lent(self.net, self.slow):
            yield


class ScheduleFree(Way):
    """Schedule-free SGD or AdamW (Defazio et al. 2024), from the package of its authors."""

    name = "schedule_free"

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        import schedulefree

        made = (
            schedulefree.SGDScheduleFree
            if trial.optimizer_name == "sgd"
            else schedulefree.AdamWScheduleFree
        )
        self.optimizer = made(self.net.parameters(), lr=trial.rate, weight_decay=0.0)
        self.optimizer.train()

    @contextmanager
    def judged(self) -> Iterator[None]:
        self.optimizer.eval()
        yield
        self.optimizer.train()


WAYS: dict[str, Callable[[Trial], Way]] = {
    "plain": PlainAveraged,
    "straight": Straight,
    "evaluate": Looking,
    "pdt": Pdt,
    "lookahead": Lookahead,
    "schedule_free": ScheduleFree,
}
