"""When the weights of two runs part, and how their distance grows from there.

Rests on the distance of each pair of snapshots, summed weight by weight, so that a difference in
the last digit shows. Knows no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.comparison.timeline import Steps

Growth = Literal["power", "exponential"]

#: Two roundings to the stored dtype can put every weight one spacing apart: twice the roundoff.
ROUNDINGS = 2.0

#: Fewest distances after the parting that a law of growth is fitted to.
FEWEST = 5

#: 0.95 quantile of Student's t at many degrees of freedom, widened for few by Cornish and Fisher.
_QUANTILE = 1.6448536269514722


@dataclass(frozen=True)
class Parting:
    """How two runs of one network part.

    Attributes
    ----------
    steps
        int64 [K], of the first run.
    distances
        float64 [K], between the weights at each pair of snapshots, in the weights' own units.
    rounding
        float64 [K]: up to here a distance may be rounding to the stored dtype.
    unequal
        float64 [K], share of the weights that are not the same number.
    first_unequal_step
        The first step at which any weight is another number; ``None`` if none is.
    parts_at_step
        The first step at which they are farther apart than rounding; ``None`` if never.
    growth
        Whether the logarithm of the distance follows that of the time since the last snapshot at
        which they were together (``power``), or the time itself (``exponential``); ``None`` where
        too few snapshots follow to tell.
    exponent, interval
        d ln(distance) / d ln(time) with its 90% interval: 0.5 for independent noise on top of the
        same motion, 1 for two straight ways. ``None`` where it cannot be told.
    doubling_steps
        Of exponential growth.
    """

    steps: Steps
    distances: Float64
    rounding: Float64
    unequal: Float64
    first_unequal_step: int | None
    parts_at_step: int | None
    growth: Growth | None = None
    exponent: float | None = None
    interval: tuple[float, float] | None = None
    doubling_steps: float | None = None

    @property
    def is_within_rounding(self) -> bool:
        """Whether the weights never differ by more than rounding."""
        return self.parts_at_step is None


def parting(steps: Steps, squares: Float64, rounding: Float64, unequal: Float64) -> Parting:
    """Find where two runs part.

    Parameters
    ----------
    steps
        int64 [K].
    squares
        float64 [K], squared distances; NaN where a weight is not finite.
    rounding
        float64 [K], lengths that rounding explains.
    unequal
        float64 [K], shares of the weights.
    """
    distances = np.sqrt(np.maximum(squares, 0.0))
    beyond = ~(distances <= rounding)
    different = np.flatnonzero(unequal > 0.0)
    apart = np.flatnonzero(beyond)
    parts = int(apart[0]) if len(apart) else None
    growth, exponent, interval, doubling = _growth(steps, distances, parts)
    return Parting(
        steps=steps,
        distances=distances,
        rounding=rounding,
        unequal=unequal,
        first_unequal_step=int(steps[different[0]]) if len(different) else None,
        parts_at_step=int(steps[parts]) if parts is not None else None,
        growth=growth,
        exponent=exponent,
        interval=interval,
        doubling_steps=doubling,
    )


def _growth(
    steps: Steps, distances: Float64, parts: int | None
) -> tuple[Growth | None, float | None, tuple[float, float] | None, float | None]:
    """Fit ln(distance) against ln(time) and against time; return the better one's name."""
    if parts is None or parts == 0:  # what was never together does not part
        return None, None, None, None
    after = np.arange(parts, len(steps))
    after = after[np.isfinite(distances[after]) & (distances[after] > 0.0)]
    if len(after) < FEWEST:
        return None, None, None, None
    time = (steps[after] - steps[parts - 1]).astype(float)
    logs = np.log(distances[after])
    slope, reach, power_error = _line(np.log(time), logs)
    rate, _, exponential_error = _line(time, logs)
    if exponential_error < power_error and rate > 0.0:
        doubling = float(np.log(2.0) / rate)
        return "exponential", slope, (slope - reach, slope + reach), doubling
    return "power", slope, (slope - reach, slope + reach), None


def _line(x: Float64, y: Float64) -> tuple[float, float, float]:
    """Return slope, half its 90% interval, and the sum of squared residuals of a straight line.

    Neighbouring residuals go together, so the interval is that of as many independent ones as their
    lag-one correlation leaves.
    """
    count = len(x)
    centered = x - x.mean()
    spread = float(centered @ centered)
    slope = float(centered @ y) / spread
    residuals = y - y.mean() - slope * centered
    left = float(residuals @ residuals)
    if left <= 1e-24 * max(1.0, float(y @ y)):
        return slope, 0.0, left
    together = float(np.clip(residuals[1:] @ residuals[:-1] / left, 0.0, 0.95))
    independent = max(3.0, count * (1.0 - together) / (1.0 + together))
    error = np.sqrt(left / count / max(1.0, independent - 2.0) * count / spread)
    freedom = max(1.0, independent - 2.0)
    quantile = _QUANTILE * (1.0 + (_QUANTILE**2 + 1.0) / (4.0 * freedom))
    return slope, float(quantile * error), left
