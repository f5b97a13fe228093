"""Simple forecasts that any other has to beat, as combinations of a window's increments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from koopscope._types import Float64

#: Increments whose mean a straight line goes on with: the best number on the tuning families of
#: docs/evidence/forecasting.md. What an older snapshot counts for in an exponential average,
#: relative to the next: an average lags behind the motion, so the shorter its memory the better,
#: down to none.
LINE = 3
DECAY = 0.5


def last_step(increments: int, horizons: Sequence[float]) -> Float64:
    """Return float64 [n, h]: the last increment again and again, persistence of the motion."""
    return _straight(increments, 1, horizons)


def straight_line(increments: int, horizons: Sequence[float], count: int = LINE) -> Float64:
    """Return float64 [n, h]: the mean of the last increments again and again."""
    return _straight(increments, min(count, increments), horizons)


def exponential_average(
    increments: int, horizons: Sequence[float], decay: float = DECAY
) -> Float64:
    """Return float64 [n, h]: to the exponential moving average of the snapshots, and no farther."""
    ages = np.arange(increments, -1, -1)
    weights = decay**ages
    weights /= weights.sum()
    # An increment is missing from every snapshot before it.
    back = -weights.cumsum()[:-1]
    return np.repeat(back[:, None], len(horizons), axis=1)


def _straight(increments: int, count: int, horizons: Sequence[float]) -> Float64:
    coefficients = np.zeros((increments, len(horizons)))
    coefficients[-count:] = np.asarray(horizons, np.float64) / count
    return coefficients


BASELINES: dict[str, Callable[[int, Sequence[float]], Float64]] = {
    "last step": last_step,
    "straight line": straight_line,
    "exponential average": exponential_average,
}
