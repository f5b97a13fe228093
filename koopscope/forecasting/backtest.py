"""Test a forecast on the run's own past, and tell from that how far ahead it can be trusted.

Holds distances and draws the conclusion; computes no forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.forecasting.choices import MAX_ERROR

#: A horizon is trusted where so many past moments, at least, were forecast better than "no change".
BETTER = 0.8

#: Past moments that it takes to say so.
FEWEST_ORIGINS = 3

#: Errors are cut off here, so that quantiles and JSON hold finite numbers.
WORST = 1e9

#: Ends of the interval over past moments.
INTERVAL = (0.1, 0.9)


@dataclass(frozen=True)
class Score:
    """Errors of one kind of forecast at one horizon, relative to "no change".

    Attributes
    ----------
    median, low, high
        Over the past moments: the middle, and the interval that holds 80% of them.
    better
        Share of them in which the forecast was nearer to the truth than no change.
    """

    median: float
    low: float
    high: float
    better: float


@dataclass(frozen=True)
class Backtest:
    """Forecasts from past moments against what came.

    Attributes
    ----------
    origins, horizons
        int64 [o] rows and [k] row intervals.
    moved
        float64 [o, k], how far the weights really went; NaN where the run had not got that far.
    errors
        By kind of forecast: float64 [o, k], the distance between forecast and truth over ``moved``.
    max_error
        The largest median error of forecasts that are trusted.
    """

    origins: npt.NDArray[np.int64]
    horizons: npt.NDArray[np.int64]
    moved: Float64
    errors: Mapping[str, Float64]
    max_error: float = MAX_ERROR

    def tested(self, index: int) -> int:
        """Return from how many past moments the horizon of this index was tested."""
        return int(np.isfinite(self.moved[:, index]).sum())

    def score(self, name: str, index: int) -> Score | None:
        """Return how a kind of forecast did at one horizon; ``None`` where nothing tested it."""
        errors = self.errors[name][:, index]
        errors = np.minimum(errors[~np.isnan(errors)], WORST)
        if not len(errors):
            return None
        low, median, high = np.quantile(errors, [INTERVAL[0], 0.5, INTERVAL[1]], method="linear")
        return Score(float(median), float(low), float(high), float(np.mean(errors < 1.0)))

    def passes(self, index: int) -> bool:
        """Return whether the past speaks for forecasts over the horizon of this index."""
        score = self.score(FORECAST, index)
        return (
            score is not None
            and self.tested(index) >= FEWEST_ORIGINS
            and score.better >= BETTER
            and score.median <= self.max_error
        )

    def reach(self, shortest: int = 1) -> int:
        """Return the longest horizon, in row intervals, up to which all from ``shortest`` pass.

        0 where that one does not. The motion of a few snapshots can drown in minibatch noise where
        that of more does not, so what is shorter than a question need not pass.
        """
        reach = 0
        for index, horizon in enumerate(self.horizons):
            if horizon >= shortest and not self.passes(index):
                break
            reach = int(horizon) if horizon >= shortest else 0
        return reach


#: Key of the forecast itself in ``Backtest.errors``, beside those of the baselines.
FORECAST = "forecast"
