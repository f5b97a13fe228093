"""Same, different, or not to be told: what a distance means against the yardstick's seeds.

Two single runs are held against how far apart two seeds of one recipe were in the yardstick, and
how far apart two recipes; groups of runs have the permutation test as well. Too little data is an
answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.comparison.calibration import CONTRASTS, DISTANCES, PROBABILITIES
from koopscope.comparison.permutation import PermutationTest

Verdict = Literal["same", "different", "inconclusive"]
Rule = Literal["weights", "permutation", "yardstick", "breaks"]

#: Largest share of errors of one kind that a verdict may rest on.
LEVEL = 0.05

#: Fewest runs a side for the permutation test.
FEWEST_REPEATS = 3


@dataclass(frozen=True)
class Score:
    """Where a number lies among those of the yardstick.

    Attributes
    ----------
    same_beyond
        Share of pairs of one recipe that lie at least as far apart: small where the two differ.
    different_within
        Share of pairs of two recipes that lie at most as far apart: small where the two agree.
    """

    same_beyond: float
    different_within: float

    @property
    def verdict(self) -> Verdict:
        """What the score alone says."""
        if self.same_beyond <= LEVEL:
            return "different"
        return "same" if self.different_within <= LEVEL else "inconclusive"


def _score(tables: tuple[Float64, Float64], value: float) -> Score:
    same, different = tables
    return Score(
        1.0 - float(np.interp(value, same, PROBABILITIES)),
        float(np.interp(value, different, PROBABILITIES)),
    )


def score_of_pair(log_distance: float, level: str) -> Score:
    """Return how the distance of two runs compares; ``level`` is ``network`` or ``layers``."""
    return _score(DISTANCES[level], log_distance)


def score_of_groups(contrast: float, level: str) -> Score:
    """Return how the contrast of two groups of three compares."""
    return _score(CONTRASTS[level], contrast)


def group_verdict(test: PermutationTest, score: Score) -> Verdict:
    """Decide on two groups of at least three runs.

    The permutation test decides where it can. Where even the clearest case has a p-value above the
    level (three a side: 0.1), the groups must be as clear as they can be, and their contrast larger
    than that of most groups of one recipe as well.
    """
    if test.p_value <= LEVEL:
        return "different"
    clearest = test.p_value <= test.smallest * (1.0 + 1e-9)
    if test.smallest > LEVEL and clearest and score.same_beyond <= LEVEL:
        return "different"
    if not clearest and score.different_within <= LEVEL:
        return "same"
    return "inconclusive"
