"""A running average of the weights over the last steps, which moves along with jumps.

Follows training through the optimizer's own hook; changes parameters only while it lends itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from koopscope.integrations.torch.flat_rows import torch, trainable

#: What is kept of the average at each step: 0.9 averages over the last ten or so.
KEPT = 0.9


@dataclass(frozen=True)
class Lent:
    """What is in the model while an average is.

    Attributes
    ----------
    steps
        Steps that the average has followed.
    running
        Names of running statistics, such as those of batch norms, that belong to the weights as
        they were: renew them on training data before the averaged model is used.
    """

    steps: int
    running: tuple[str, ...]


class RunningAverage:
    """An exponential average of the trainable parameters, renewed after every optimizer step.

    Parameters
    ----------
    model
        A ``torch.nn.Module``.
    optimizer
        Of its parameters. One that has no hooks after a step is followed whenever ``follow`` is
        called.
    kept
        Share of the average that each step keeps.
    """

    def __init__(self, model: Any, optimizer: Any, kept: float) -> None:
        self._model, self._kept = model, kept
        self._parameters: list[Any] = []
        self._values: list[Any] = []
        self.steps = 0
        register = getattr(optimizer, "register_step_post_hook", None)
        self.hooked = register is not None
        if register is not None:
            # An accelerator that nobody holds any more is not followed either.
            here = weakref.ref(self)
            register(lambda *_: _follow(here))
        self.restart()

    @property
    def values(self) -> dict[int, Any]:
        """The averages by the parameters' ids."""
        return {id(p): value for p, value in zip(self._parameters, self._values, strict=True)}

    def restart(self) -> None:
        """Begin with the parameters as they are."""
        self._parameters = list(trainable(self._model).values())
        self._values = [_copy(p) for p in self._parameters]
        self.steps = 0

    def follow(self) -> None:
        """Take in the parameters after a step; an error is left to the next interval to tell."""
        try:
            with torch.no_grad():
                torch._foreach_lerp_(self._values, _as(self._parameters, self._values), self._pull)
            self.steps += 1
        except Exception:  # an average is not worth a training run
            self.steps = -1

    @property
    def _pull(self) -> float:
        # At first a plain mean, so that the start counts for no more than any later step.
        return max(1.0 - self._kept, 1.0 / (self.steps + 2.0))

    def check(self) -> None:
        """Begin anew where other parameters are trained than before, or some step failed."""
        now = list(trainable(self._model).values())
        same = len(now) == len(self._parameters) and all(
            p is q and p.device == v.device
            for p, q, v in zip(now, self._parameters, self._values, strict=True)
        )
        if not same or self.steps < 0:
            self.restart()

    @contextmanager
    def lent(self) -> Iterator[Lent]:
        """Let the model have the average; its own weights come back bit for bit."""
        self.check()
        own = [p.detach().clone() for p in self._parameters]
        running = tuple(name for name, b in self._model.named_buffers() if b.is_floating_point())
        try:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, self._values)
            yield Lent(self.steps, running)
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, own)


def _follow(average: weakref.ref[RunningAverage]) -> None:
    found = average()
    if found is not None:
        found.follow()


def _copy(parameter: Any) -> Any:
    """Return a copy, in single precision where the parameter has less."""
    value = parameter.detach()
    return value.clone() if value.dtype.itemsize >= 4 else value.float()


def _as(parameters: list[Any], values: list[Any]) -> list[Any]:
    return [p.detach().to(v.dtype) for p, v in zip(parameters, values, strict=True)]
