"""The ways of training that are compared: as usual, averaged, and with four kinds of jumps.

Each way is told about the network before the first epoch, after every step and after every epoch;
what it spends there counts as its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from koopscope._types import Float64
from koopscope.forecasting.acceptance import accepted
from koopscope.integrations.torch.accelerator import KoopmanAccelerator
from koopscope.integrations.torch.parameter_window import ForecastRule, ParameterWindow

EMA_DECAY = 0.9  # per step: the better of 0.9 and 0.99 on the networks that were tuned on


class Usual:
    """The optimizer alone."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.net, self.optimizer = net, optimizer

    def after_step(self) -> None:
        pass

    def after_epoch(self, loss: float) -> None:
        pass

    @contextmanager
    def judged(self) -> Iterator[nn.Module]:
        """Lend the network with the weights that this way of training would hand out now."""
        yield self.net

    def counts(self) -> tuple[int, int, int]:
        """Return how many jumps were kept, taken back and rejected."""
        return 0, 0, 0


class Averaged(Usual):
    """An exponential moving average of the weights is what is handed out."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(net, optimizer)
        self.parameters = list(net.parameters())
        self.average = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def after_step(self) -> None:
        torch._foreach_lerp_(self.average, self.parameters, 1.0 - EMA_DECAY)

    @contextmanager
    def judged(self) -> Iterator[nn.Module]:
        own = [p.detach().clone() for p in self.parameters]
        self._put(self.average)
        yield self.net
        self._put(own)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


class Koopman(Usual):
    """The accelerator, as it is by default where nothing else is said."""

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, **options: float | str
    ) -> None:
        super().__init__(net, optimizer)
        self.accelerator = KoopmanAccelerator(net, optimizer, **options)

    def after_epoch(self, loss: float) -> None:
        self.accelerator.after_epoch(loss)

    def counts(self) -> tuple[int, int, int]:
        report = self.accelerator.report()
        return report.kept, report.rolled_back, report.rejected


class Straight(Koopman):
    """The accelerator's schedule, acceptance test and way back, but straight on."""

    HORIZON = 5.0  # the better of 5 and 10 on the networks that were tuned on

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(net, optimizer, horizon=self.HORIZON)
        self.accelerator._window = StraightWindow(
            net, 5, ForecastRule("network", "increments", "pdt")
        )
        self.accelerator._window.begin()


class StraightWindow(ParameterWindow):
    """Carries the mean increment of the window on."""

    def _fitted(self, law: str, horizon: float) -> dict[str, Float64]:
        return self._law("straight", horizon)


class Published(Usual):
    """Predictive Differential Training as its authors' code does it (github.com/aicip/PDT).

    After every epoch from the fifth on: DMD of the weights themselves at the beginnings of the last
    five epochs, truncated by the optimal hard threshold, carried on for five epochs from the
    beginning of this one; a weight jumps there if it lies in the direction of this epoch's
    update and is one to six times as long. Nothing is taken back; the optimizer's state stays.
    (A training that has diverged is left alone, where theirs ends with an error.)
    """

    SNAPSHOTS, HORIZON = 5, 5

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(net, optimizer)
        self.starts = [self._weights()]
        self.jumps = 0

    def _weights(self) -> Tensor:
        return parameters_to_vector(self.net.parameters()).detach().clone()

    def after_epoch(self, loss: float) -> None:
        if len(self.starts) == self.SNAPSHOTS and bool(torch.isfinite(self.starts[-1]).all()):
            start, now = self.starts[-1], self._weights()
            ahead = self._predicted()
            mask = accepted("pdt", ahead.numpy(), (now - start).numpy(), self.HORIZON + 1)
            jumped = torch.where(torch.from_numpy(mask), start + ahead, now)
            vector_to_parameters(jumped, self.net.parameters())
            self.jumps += 1
        self.starts = [*self.starts[1 - self.SNAPSHOTS :], self._weights()]

    def _predicted(self) -> Tensor:
        """Return the displacement from the beginning of this epoch."""
        columns = torch.stack(self.starts, dim=1)
        U, S, Vh = torch.linalg.svd(columns[:, :-1], full_matrices=False)
        ratio = min(columns.shape[0], len(S)) / max(columns.shape[0], len(S))
        omega = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
        rank = max(1, int((omega * S.median() < S).sum()))
        U, S, V = U[:, :rank], S[:rank], Vh[:rank].T
        eigenvalues, Q = torch.linalg.eig(U.T @ columns[:, 1:] @ V / S)
        modes = U.to(Q.dtype) @ Q
        reached = torch.linalg.pinv(modes) @ self.starts[-1].to(Q.dtype)
        return (modes @ ((eigenvalues**self.HORIZON - 1.0) * reached)).real

    def counts(self) -> tuple[int, int, int]:
        return self.jumps, 0, 0


Way = Callable[[nn.Module, torch.optim.Optimizer], Usual]

WAYS: dict[str, Way] = {
    "usual": Usual,
    "ema": Averaged,
    "straight": Straight,
    "koopman": Koopman,
    "pdt": Published,
}
