"""A recorded metric as a curve: the points that were given, their noise, and smooth values.

Lower is better throughout: a metric of which higher values are better comes in turned. Nothing here
depends on where a metric has its zero or on its unit, and nothing decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.metric_choice import MetricChoice, training_choice, validation_choice

#: Values that a smooth one is the mean of, in short and in long curves.
_FEW, _MANY = 3, 5
_LONG = 30

#: Differences of noise have a median magnitude of 0.6745 standard deviations; second differences
#: have six times the variance of the values.
_MEDIAN_OF_SECOND = 0.6745 * math.sqrt(6.0)

#: A curve has no scale where it never fell by more than this part of its largest magnitude.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LossCurve:
    """The points of one metric inside the window.

    Attributes
    ----------
    choice
        Which metric it is.
    at
        intp [K], the snapshots of the window at which a finite value was given.
    steps
        int64 [K], their steps.
    values
        float64 [K], lower is better.
    """

    choice: MetricChoice
    at: npt.NDArray[np.intp]
    steps: npt.NDArray[np.int64]
    values: Float64

    def __len__(self) -> int:
        """Number of points K."""
        return len(self.values)

    @property
    def width(self) -> int:
        """Values that a smooth one is the mean of."""
        return stretch(len(self))

    @cached_property
    def smooth(self) -> Float64:
        """float64 [K - width + 1], the mean of ``width`` values from each point on."""
        sums = np.concatenate([[0.0], np.cumsum(self.values)])
        means: Float64 = (sums[self.width :] - sums[: -self.width]) / self.width
        return means

    @cached_property
    def gain(self) -> float:
        """By how much the smooth curve ever lay below the first value; 0 where it never did."""
        fallen = float(self.values[0] - self.smooth.min())
        return fallen if fallen > _ROUNDING * float(np.abs(self.values).max()) else 0.0

    def noise(self, first: int = 0, stop: int | None = None) -> float:
        """Return the scatter of some of the values about a smooth line, as one standard deviation.

        By the median of the second differences, which a few jumps do not move.
        """
        part = self.values[first:stop]
        if len(part) < 3:
            return 0.0
        return float(np.median(np.abs(np.diff(part, n=2)))) / _MEDIAN_OF_SECOND

    def fall(self, part: float) -> tuple[float, float]:
        """Return how far the curve fell over its last part, and that fall's standard error.

        From the mean of the first to the mean of the second half of that part, doubled: the fall
        of a straight line from its begin to its end.
        """
        count = max(4, round(part * len(self)))
        last = self.values[-count:]
        half = len(last) // 2
        if half < 1:
            return 0.0, 0.0
        fallen = float(last[:half].mean() - last[-half:].mean())
        error = self.noise(-count) * math.sqrt(2.0 / half)
        return 2.0 * fallen, 2.0 * error


def stretch(points: int) -> int:
    """Return how many neighbours of a curve of so many points a smooth value is the mean of."""
    return min(points, _MANY if points >= _LONG else _FEW)


def validation_curve(analysis: Analysis) -> LossCurve | None:
    """Return the metric that counts as validation, ``None`` where none was recorded."""
    metrics = analysis.description.metrics
    return curve_of(analysis, validation_choice(metrics, analysis.settings.metric))


def training_curve(analysis: Analysis) -> LossCurve | None:
    """Return the training loss, ``None`` where none was recorded."""
    return curve_of(analysis, training_choice(analysis.description.metrics))


def curve_of(analysis: Analysis, choice: MetricChoice | None) -> LossCurve | None:
    """Return a metric's points inside the window, ``None`` where there are none."""
    if choice is None:
        return None
    inside = slice(analysis.window.first, analysis.window.stop)
    values = choice.as_loss(np.asarray(analysis.description.metrics[choice.name], float)[inside])
    at = np.flatnonzero(np.isfinite(values))
    if not len(at):
        return None
    return LossCurve(choice, at, analysis.description.steps[inside][at], values[at])
