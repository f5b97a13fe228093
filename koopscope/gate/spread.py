"""How much a value changes from one seed to the next: what a change has to exceed to count.

Stated defaults, measured on the yardstick's tuning families (``studies/seeds.py``); with
several reports of other seeds, their own spread takes over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from koopscope.analysis.metric_choice import better_side
from koopscope.diagnostics.finding import Side

#: Differences between two seeds of a recipe that 95% stay within, over 84 runs (7 families, 2
#: optimizers, 6 seeds): of losses the logarithm of their ratio (val_loss; 0.56 for the training
#: loss), of shares (val_accuracy) and the findings' values as they are. 99% stay within 1.21 and
#: 0.33: small networks from small data scatter a lot, several reports of one's own say it better.
WITHIN = {
    "convergence": 0.10,
    "stability": 0.32,
    "initialization": 0.13,
    "depth": 0.24,
    "loss": 0.66,
    "share": 0.21,
}

#: For a value of which no spread was measured.
WITHIN_UNKNOWN = 0.1

#: The reports' own spread counts as much as the stated one where there are so many more of them.
PRIOR_REPORTS = 3.0

#: Standard deviations that 95% of a normal distribution lie within.
QUANTILE = 1.96


def direction_of(metric: str) -> Side | None:
    """Return on which side a metric of this name is worse; ``None`` where its name does not say."""
    better = better_side(metric)
    return None if better is None else "higher" if better == "min" else "lower"


def is_ratio(name: str, values: Sequence[float]) -> bool:
    """Return whether changes of a value are told by ratio: positive losses, unknown numbers."""
    if not name.startswith("metrics.") or min(values) <= 0.0:
        return False
    return direction_of(name) != "lower"


def allowed_change(name: str, old: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest value that another seed explains.

    Parameters
    ----------
    name
        A finding's id, or ``metrics.`` and a metric's name.
    old
        The value in one or more earlier reports.
    """
    ratio = is_ratio(name, old)
    values = np.log(old) if ratio else np.asarray(old, float)
    stated = _within(name, old) / (QUANTILE * math.sqrt(2.0))
    count = len(values)
    around = float(np.sum((values - values.mean()) ** 2))
    variance = (PRIOR_REPORTS * stated**2 + around) / (PRIOR_REPORTS + count - 1)
    reach = QUANTILE * math.sqrt(variance * (1.0 + 1.0 / count))
    center = float(np.median(values))
    low, high = center - reach, center + reach
    return (math.exp(low), math.exp(high)) if ratio else (low, high)


def _within(name: str, old: Sequence[float]) -> float:
    if not name.startswith("metrics."):
        return WITHIN.get(name, WITHIN_UNKNOWN)
    side = direction_of(name)
    if side == "higher" and is_ratio(name, old):
        return WITHIN["loss"]
    if side == "lower" and min(old) >= 0.0 and max(old) <= 1.0:
        return WITHIN["share"]
    scale = 1.0 if is_ratio(name, old) else float(np.median(np.abs(old)))
    return WITHIN["loss"] * scale if side else WITHIN_UNKNOWN * scale
