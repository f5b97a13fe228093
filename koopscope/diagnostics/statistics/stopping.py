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

#: Index of the first snapshot at which a stop may be called.
EARLIEST_STOP = 10

#: Stop where the predicted log(improvement still ahead + 0.005) falls below this, by edition. Set
#: on the tuning families, cross-validated: docs/evidence/diagnostics.md.
STOP_BELOW = {"weights": -4.6, "training": -4.5, "validation": -4.0, "losses": -3.9}

#: A recorded validation loss has to be without a new best for so many snapshots before a stop.
WITHOUT_NEW_BEST = 3

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
        allowed=may_stop(course),
        ahead=ahead,
        low=low,
        high=high,
    )


def may_stop(course: Course) -> npt.NDArray[np.bool_]:
    """Return bool [T], where a stop may be called whatever the score says."""
    length = len(next(iter(course.weights.values()), ()))
    allowed = np.arange(length) >= EARLIEST_STOP
    if course.validation is not None:
        allowed &= course.validation["since"] >= np.log1p(WITHOUT_NEW_BEST) - 1e-9
    return allowed
