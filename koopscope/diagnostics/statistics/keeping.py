"""Which recorded weights to keep: the best by a validation metric, or the last healthy ones.

A step to stop at is another question. Looks at the whole record, decides nothing about the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES

#: The error of a smoothed value is at most this part of what the metric gained...
_ERROR = 0.02

#: ...unless that takes means over more values than this, or more than this part of the run.
_WIDEST, _PART = 9, 0.1

#: A value is near the best so far within this part of what was gained, or so many standard
#: deviations of the noise, whichever is more.
_NEAR, _DEVIATIONS = 0.1, 4.0

#: Where no loss is recorded, weights that move so many times faster than usual have jumped.
_JUMP = 10.0
_USUAL = 8


@dataclass(frozen=True)
class BestSnapshot:
    """The snapshot with the best metric.

    Attributes
    ----------
    index, step
        Which snapshot of the run, counted from 0.
    metric
        The name of the metric.
    value, last
        What it is there, and at the last snapshot that has one.
    width
        How many neighbouring values the means are over that were compared; 1 is no smoothing.
    """

    index: int
    step: int
    metric: str
    value: float
    last: float
    width: int


@dataclass(frozen=True)
class HealthySnapshot:
    """The last snapshot before the trouble that the run did not recover from.

    Attributes
    ----------
    index, step
        Which snapshot of the run, counted from 0.
    trouble
        What came after it, as a part of a sentence; empty where nothing did.
    """

    index: int
    step: int
    trouble: str


def best_of(
    metrics: Mapping[str, Float64],
    steps: npt.NDArray[np.int64],
    names: tuple[str, ...] = VALIDATION_LOSSES,
    *,
    highest: bool = False,
) -> BestSnapshot | None:
    """Return the snapshot with the best value of the first of these metrics, or ``None``.

    Snapshots without a value are left out. Where the metric is noisy, the stretch of ``width``
    values with the lowest mean is looked for, so long that noise is at most 2% of what was gained,
    and in it the best value: a lucky value alone does not count. The same choice can be made while
    training goes on, at most ``width - 1`` values later. Of equal ones the earliest is taken.

    Parameters
    ----------
    metrics
        float64 [T] by name, NaN where no value was given.
    steps
        int64 [T].
    names
        Which metrics to look for, best first.
    highest
        Whether higher is better.
    """
    for name in names:
        values = np.asarray(metrics.get(name, ()), np.float64)
        given = np.flatnonzero(np.isfinite(values))
        if not len(given):
            continue
        found = values[given]
        width = smoothing_width(found)
        costs = -found if highest else found
        middle = int(np.argmin(_means(costs, width)))
        first = max(0, middle - width // 2)
        chosen = int(given[first + np.argmin(costs[first : middle + width // 2 + 1])])
        return BestSnapshot(
            chosen, int(steps[chosen]), name, float(values[chosen]), float(found[-1]), width
        )
    return None


def smoothing_width(values: Float64) -> int:
    """Return over how many neighbours to take means, an odd number, 1 where noise is small.

    Noise is the scatter of second differences, which a smooth curve hardly has; what was gained
    is the range between the first value and the extremes.
    """
    gained = float(np.ptp(values))
    if len(values) < 5 or gained <= 0.0:
        return 1
    wanted = (_noise(values) / (_ERROR * gained)) ** 2
    widest = min(_WIDEST, max(1.0, _PART * len(values)))
    half = int(np.ceil((min(max(wanted, 1.0), widest) - 1.0) / 2.0))
    return 2 * half + 1


def _noise(values: Float64) -> float:
    """Return the standard deviation of what is no smooth course, robust against few jumps."""
    bends = np.abs(np.diff(values, n=2))
    return float(1.4826 * np.median(bends) / np.sqrt(6.0)) if len(bends) else 0.0


def _means(values: Float64, width: int) -> Float64:
    """Return the mean about each value; near an end over as many on both sides as there are."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    t = np.arange(len(values))
    half = np.minimum(width // 2, np.minimum(t, len(values) - 1 - t))
    means: Float64 = (sums[t + half + 1] - sums[t - half]) / (2 * half + 1)
    return means


def last_healthy(analysis: Analysis) -> HealthySnapshot | None:
    """Return the last snapshot before weights or loss went wrong for good; ``None`` without one.

    Wrong is a weight that is NaN or infinite, a loss that is, and a loss that rises and does not
    come back near its best until the end: by a spike, or little by little. The training loss is
    looked at, a validation loss where there is none. Where neither is recorded, weights that
    suddenly move ten times faster than usual count, whether or not they calm down.

    A spike that was recovered from is no trouble: then the last snapshot is healthy.
    """
    steps = analysis.description.steps
    finite = np.ones(len(steps), np.bool_)
    for tensor in analysis.tensors:
        finite &= analysis.grams[tensor.name].finite
    if not finite.any():
        return None
    usable = int(np.flatnonzero(finite)[-1]) + 1
    trouble = "" if usable == len(steps) else f"weights are NaN or infinite at step {steps[usable]}"
    found = HealthySnapshot(usable - 1, int(steps[usable - 1]), trouble)
    for name in (*TRAINING_LOSSES, *VALIDATION_LOSSES):
        loss = np.asarray(analysis.description.metrics.get(name, ()), np.float64)[:usable]
        given = np.flatnonzero(~np.isnan(loss))
        if not np.isfinite(loss).any():
            continue
        last = _last_near_best(np.where(finite[given], loss[given], np.inf))
        if last < len(given) - 1:
            index, after = int(given[last]), int(steps[given[last + 1]])
            best = loss[np.isfinite(loss)].min()
            said = f"{name} rises from step {after} on and does not come back to {best:.4g}"
        elif usable - 1 - given[-1] > np.diff(given).max(initial=1):
            index, after = int(given[-1]), int(steps[given[-1] + 1])
            said = f"{name} is NaN from step {after} on"
        else:
            return found
        return HealthySnapshot(index, int(steps[index]), said)
    jump = _first_jump(analysis, usable)
    if jump is not None:
        said = f"the weights jump between steps {steps[jump]} and {steps[jump + 1]}"
        return HealthySnapshot(jump, int(steps[jump]), said)
    return found


def _last_near_best(loss: Float64) -> int:
    """Return the last index at which a loss was near its least so far, alone and in its median."""
    finite = np.isfinite(loss)
    filled = np.where(finite, loss, np.max(loss, where=finite, initial=-np.inf))
    padded = np.concatenate([filled[:1], filled, filled[-1:]])
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1)
    least = np.minimum.accumulate(smooth)
    gained = max(float(filled[0] - least[-1]), 0.0)
    near = least + max(_NEAR * gained, _DEVIATIONS * _noise(smooth))
    healthy = np.flatnonzero(finite & (filled <= near) & (smooth <= near))
    return int(healthy[-1]) if len(healthy) else int(np.argmin(filled))


def _first_jump(analysis: Analysis, usable: int) -> int | None:
    """Return the snapshot before the first jump of the weights, or ``None``."""
    window = analysis.window
    speeds = analysis.gram().speeds()[: max(0, usable - 1 - window.first)]
    for t in range(_USUAL, len(speeds)):
        usual = float(np.median(speeds[t - _USUAL : t]))
        if usual > 0.0 and speeds[t] > _JUMP * usual:
            return int(window.first + t)
    return None
