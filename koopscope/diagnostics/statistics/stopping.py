"""When could a run have been stopped? A causal score, its threshold, and its interval.

Looks at statistics alone; what it comes to is said elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.editions import Edition
from koopscope.diagnostics.statistics.trajectory import Course

#: Index of the first snapshot at which a stop may be called: a finding takes twelve snapshots.
EARLIEST_STOP = 11

#: Stop where the predicted log(improvement still ahead + 0.005) falls below this, by edition. Set
#: on the tuning families, cross-validated: docs/evidence/diagnostics.md.
STOP_BELOW = {"weights": -4.4, "training": -4.45, "validation": -4.6, "losses": -4.6}

#: Improvement below this cannot be told from none: the floor inside the logarithm above.
GAIN_FLOOR = 0.005

#: 0.95 quantile of Student's t with seven degrees of freedom, for the interval of level 0.9.
T_90 = 1.895


@dataclass(frozen=True)
class StopRule:
    """The stop rule over a run's course, one value per snapshot of the window.

    Attributes
    ----------
    edition
        Which records it looks at.
    score
        What is held against the threshold: the predicted log(improvement ahead + 0.005).
    threshold
        Stop where the score is below.
    allowed
        bool, where a stop may be called.
    ahead
        Predicted improvement still ahead, as part of all that was gained.
    low, high
        Where 90% of the tuning runs lay around such a prediction.
    """

    edition: Edition
    score: Float64
    threshold: float
    allowed: npt.NDArray[np.bool_]
    ahead: Float64
    low: Float64
    high: Float64

    @property
    def stop(self) -> int | None:
        """Index of the first snapshot at which the run could have been stopped."""
        below = np.flatnonzero((self.score < self.threshold) & self.allowed)
        return int(below[0]) if len(below) else None


def stop_score(course: Course) -> Float64:
    """Return the stop rule's score, the predicted log(improvement ahead + 0.005), float64 [T]."""
    content = scores.table("convergence")["stop"][course.edition.name]
    return scores.tree_score(content)(course.all())


def stop_rule(course: Course, errors: Float64 | None = None) -> StopRule:
    """Apply the stop rule to a run's course.

    Parameters
    ----------
    errors
        Standard error of the score from having measured and not read the weights, float64 [T]:
        it widens the interval, and moves nothing else.
    """
    edition = course.edition
    spread = scores.table("convergence")["stop"][edition.name]
    score = stop_score(course)
    more = np.zeros_like(score) if errors is None else T_90 * errors
    below, above = (np.interp(score, spread["at"], spread[side]) for side in ("low", "high"))
    shifts = (-np.hypot(np.minimum(below, 0.0), more), np.hypot(np.maximum(above, 0.0), more))
    bounds = [np.exp(score + shift) - GAIN_FLOOR for shift in (0.0, *shifts)]
    ahead, low, high = (np.clip(bound, 0.0, 1.0) for bound in bounds)
    return StopRule(
        edition=edition,
        score=score,
        threshold=STOP_BELOW[edition.name],
        allowed=may_stop(len(score)),
        ahead=ahead,
        low=low,
        high=high,
    )


def may_stop(snapshots: int) -> npt.NDArray[np.bool_]:
    """Return bool [T], where a stop may be called whatever the score says.

    That a validation loss has to be without a new best for two to four snapshots was tried: at
    equal savings it made false stops more frequent (30 of 350 tuning runs against 17).
    """
    return np.arange(snapshots) >= EARLIEST_STOP
