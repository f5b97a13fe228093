"""The state at the end of a run: still training, converged, stalled, diverging, or not to be told.

Looks at statistics alone; what it comes to is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.trajectory import Course

State = Literal["training", "converged", "stalled", "diverging", "inconclusive"]

#: Scores of a state closer to zero than this are called inconclusive, by edition: as many as leave
#: at most a tenth of the tuning runs unanswered, scored by fits to other families.
UNDECIDED = {"weights": 0.2, "training": 0.35, "validation": 0.3, "losses": 0.35}

#: A training loss that ends above its first value by this share of all it had gained, beyond three
#: times its noise, has diverged.
DIVERGED = 0.1

#: The same where a loss swings: by this many times what it had gained, with each of its last five
#: values above the first.
DIVERGED_FOR_CERTAIN = 1.0

#: A run that lost more than this part of its gain has lost what it had learned, if the noise is
#: less than that other part of the gain.
LOST, LOST_BEYOND = 0.5, 0.15

#: More of the statistics than this outside of what the tuning runs showed: no case for a verdict.
#: Scored by fits to other families, tuning runs with a fifth to three tenths outside were no less
#: often right than others (11 runs, 73%), those with more were (16 runs, 63%).
UNFAMILIAR = 0.3


@dataclass(frozen=True)
class StateScores:
    """The state at the end of a run, and the numbers behind it."""

    state: State
    training_loss_ratio: float | None = None
    still_training: float | None = None
    has_learned: float | None = None
    source: str | None = None
    unfamiliar: float | None = None


def training_state(course: Course) -> StateScores:
    """Return the state at the end of a run, and what it was drawn from."""
    edition = course.edition
    if course.training is not None and diverged(course.training):
        return StateScores("diverging", training_loss_ratio=course.training_ratio)
    table = scores.table("convergence")
    last = {name: float(values[-1]) for name, values in course.all().items()}
    moving = float(scores.tree_score(table["state"][edition.name]["moving"])(last))
    learned = float(scores.tree_score(table["state"][edition.name]["learned"])(last))
    unfamiliar = scores.unfamiliar(table["known"], last)
    return StateScores(
        named_state(moving, learned, UNDECIDED[edition.name], unfamiliar),
        still_training=round(scores.probability(moving), 4),
        has_learned=round(scores.probability(learned), 4),
        source=edition.source,
        unfamiliar=round(unfamiliar, 4),
    )


def diverged(training: Mapping[str, Float64]) -> bool:
    """Return whether a training loss ended above its start by more than its gain and its noise."""
    rise, floor = (float(np.sinh(training[name][-1])) for name in ("rise", "floor"))
    noise = float(np.exp(training["noise"][-1]))
    swings_above = rise > DIVERGED_FOR_CERTAIN and floor > DIVERGED
    return rise > DIVERGED + 3.0 * noise or swings_above


def lost_again(training: Mapping[str, Float64]) -> float | None:
    """Return how much of a training loss's gain is lost at the end; ``None`` if not over half.

    What is left after a dead start is no gain: it must stand out of the noise.
    """
    lost = float(np.exp(training["above"][-1]))
    noise = float(np.exp(training["noise"][-1]))
    return lost if lost > LOST and noise < LOST_BEYOND else None


def named_state(moving: float, learned: float, margin: float, unfamiliar: float = 0.0) -> State:
    """Name the state that two scores, log odds of "still training" and "has learned", stand for."""
    undecided = abs(moving) < margin or (moving < 0.0 and abs(learned) < margin)
    if undecided or unfamiliar > UNFAMILIAR:
        return "inconclusive"
    if moving > 0.0:
        return "training"
    return "converged" if learned > 0.0 else "stalled"
