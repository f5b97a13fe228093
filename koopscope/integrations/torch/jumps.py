"""What an accelerator did: its jumps, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from koopscope.integrations.torch.candidates import Candidate

Outcome = Literal["kept", "rolled back", "rejected", "pending"]


@dataclass(frozen=True)
class Jump:
    """One forecast.

    Attributes
    ----------
    epoch
        Calls of ``after_epoch`` until then.
    horizon
        Intervals (of ``every`` epochs) that it spans.
    share
        Part of the weights that passed the acceptance test.
    outcome
        ``kept``; ``rolled back``: the loss rose, and weights and optimizer state are again what
        they were; ``rejected``: no weight passed, or the forecast was not finite, and nothing
        was changed; ``pending``: the next epoch will tell.
    candidate
        What was chosen among several, with ``evaluate``.
    gain
        How much lower than before the jump ``evaluate`` was there.
    """

    epoch: int
    horizon: float
    share: float
    outcome: Outcome
    candidate: Candidate | None = None
    gain: float | None = None


@dataclass(frozen=True)
class Acceleration:
    """What an accelerator did so far.

    Attributes
    ----------
    epochs
        Calls of ``after_epoch``.
    kept, rolled_back, rejected
        Numbers of forecasts: see ``Jump``.
    seconds
        Spent in the accelerator, on the clock, without what the running average takes in a step.
    jumps
        All of them, in order.
    stayed
        How often ``evaluate`` was asked and no candidate was better.
    questions
        How often ``evaluate`` was called: as many forward passes of what it evaluates.
    frozen
        Layers that were frozen since they had come to rest.
    """

    epochs: int
    kept: int
    rolled_back: int
    rejected: int
    seconds: float
    jumps: tuple[Jump, ...]
    stayed: int = 0
    questions: int = 0
    frozen: tuple[str, ...] = ()
