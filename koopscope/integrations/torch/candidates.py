"""Where a jump may lead: a law of motion, how far, and from where.

Names places; what weights lie there is the window's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Which law carries the weights on: one Koopman operator for the network, one for each layer or
#: tensor, or the mean of the window's increments.
CandidateLaw = Literal["network", "layer", "tensor", "straight"]


@dataclass(frozen=True)
class Candidate:
    """One place to jump to.

    Attributes
    ----------
    law
        What carries the weights on.
    horizon
        For how many intervals. The interval that ends now is the first of them; from an average,
        they are counted from where it stands.
    averaged
        Whether the start is the mean of the window's weights, which has less noise and lies a few
        intervals back, rather than the last interval's start.
    masked
        Whether only weights that pass the acceptance test move.
    """

    law: CandidateLaw
    horizon: float
    averaged: bool = False
    masked: bool = True

    def __str__(self) -> str:
        start = "the average" if self.averaged else "the last weights"
        return f"{self.law}, {self.horizon:g} intervals from {start}"
