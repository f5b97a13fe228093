"""Where a jump may lead: a law of motion, how far, and from where.

Names places; what weights lie there is the window's.
"""

from __future__ import annotations

import math
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


#: Horizons that are tried, in intervals; nought from the average is the average itself.
HORIZONS = (0.0, 2.0, 5.0, 10.0, 20.0)

#: Where every way of jumping begins in them.
FIRST = 2

#: How much of an earlier verdict on a way of jumping is left after the next one.
MEMORY = 0.7


@dataclass
class Way:
    """One way of jumping, and what became of it.

    Attributes
    ----------
    law, averaged, masked
        As in ``Candidate``.
    level
        Which of the horizons comes next.
    score
        How often it was the best lately; between 0 and 1.
    idle
        Looks since it was tried.
    """

    law: CandidateLaw
    averaged: bool
    masked: bool
    level: int = FIRST
    score: float = 0.5
    idle: int = 0

    def at(self, level: int) -> Candidate:
        """Return the candidate at one of the horizons."""
        return Candidate(self.law, HORIZONS[level], self.averaged, self.masked)

    @property
    def shortest(self) -> int:
        """The least level: without an average, no interval ahead is to stay."""
        return 0 if self.averaged else 1


class Record:
    """Chooses what to try from what became of earlier jumps.

    Parameters
    ----------
    ways
        Ways of jumping.
    longest
        Horizons beyond are not tried.
    """

    def __init__(self, ways: list[Way], longest: float) -> None:
        self._ways = ways
        self._last_level = max(i for i, h in enumerate(HORIZONS) if h <= longest)

    def ordered(self) -> list[Way]:
        """Return the ways, the most promising first; one that waited long gains rank."""
        return sorted(self._ways, key=lambda way: -(way.score + 0.05 * way.idle))

    def longer(self, level: int) -> int | None:
        """Return the next longer level, or ``None``."""
        return level + 1 if level < self._last_level else None

    def shorter(self, way: Way, level: int) -> int | None:
        """Return the next shorter level, or ``None``."""
        return level - 1 if level > way.shortest else None

    def note(self, tried: list[tuple[Way, int, float]], best: Way | None) -> None:
        """Take note of a look: the next begins where this one ended, a level lower if it failed.

        Parameters
        ----------
        tried
            Ways with their levels and losses; infinite where staying was better.
        best
            The way that was taken.
        """
        for way in self._ways:
            way.idle += 1
        for way, level, loss in tried:
            way.idle = 0
            way.level = level if loss < math.inf else max(way.shortest, level - 1)
        for way in {id(way): way for way, _, _ in tried}.values():
            way.score = MEMORY * way.score + (1.0 - MEMORY) * (way is best)
        if best is not None:
            best.level = max(level for way, level, loss in tried if way is best and loss < math.inf)

    def taken_back(self, way: Way) -> None:
        """A jump that looked good was taken back later."""
        way.score *= MEMORY
        way.level = max(way.shortest, way.level - 1)


def first_ways() -> list[Way]:
    """Return the ways that are tried, as they are before anything is known of them."""
    return [
        Way("straight", averaged=False, masked=True),
        Way("network", averaged=False, masked=True),
        Way("layer", averaged=False, masked=True),
    ]
