"""Which recorded weights to keep: the best by a validation metric, or the last healthy ones.

A step to stop at is another question. Looks at the whole record, decides nothing about the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.metric_choice import MetricChoice, validation_choice
from koopscope.diagnostics.statistics.loss_curve import stretch
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES
from koopscope.runs.run import RunDescription

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
    choice
        The metric, and on which side of it better values lie.
    value, last
        What it is there, and at the last snapshot that has one.
    is_extreme
        Whether no other snapshot has a better value, by luck or not.
    """

    index: int
    step: int
    choice: MetricChoice
    value: float
    last: float
    is_extreme: bool

    @property
    def words(self) -> str:
        """What makes it the best, after "step 220 has": ``the lowest val_loss, 0.51 ...``."""
        side = "lowest" if self.choice.better == "min" else "highest"
        noise = "" if self.is_extreme else " but for noise"
        start = ", never better than at the start" if self.index == 0 else ""
        return (
            f"the {side} {self.choice.name}{noise}: {self.value:.4g}, and {self.last:.4g} at the "
            f"end{start}"
        )

    def plain(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "step": self.step,
            "metric": self.choice.name,
            "better": self.choice.better,
            "guessed": self.choice.guessed,
            "value": self.value,
            "last": self.last,
        }


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


def best_snapshot(description: RunDescription, metric: str | None = None) -> BestSnapshot | None:
    """Return the snapshot with the best validation metric; ``None`` where none was recorded.

    Of all stretches of five values that follow one another (three, of less than thirty) the one
    with the best mean is taken, and in it the best value: a lucky value alone does not count. The
    same choice can be made while training goes on, at most four values later. Snapshots without a
    value are left out; of equal ones the earliest is taken.

    Parameters
    ----------
    metric
        Which one counts, as in ``Settings.metric``; guessed by default.

    Raises
    ------
    KoopscopeError
        If the run holds no value of the metric that was asked for.
    """
    choice = validation_choice(description.metrics, metric)
    if choice is None:
        return None
    values = np.asarray(description.metrics[choice.name], np.float64)
    given = np.flatnonzero(np.isfinite(values))
    losses = choice.as_loss(values[given])
    point = best_point(losses)
    chosen = int(given[point])
    return BestSnapshot(
        chosen,
        int(description.steps[chosen]),
        choice,
        float(values[chosen]),
        float(values[~np.isnan(values)][-1]),
        bool(losses[point] == losses.min()),
    )


def best_point(values: Float64) -> int:
    """Return the index of the lowest value inside the stretch with the lowest mean."""
    width = stretch(len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = int(np.argmin(sums[width:] - sums[:-width]))
    return first + int(np.argmin(values[first : first + width]))


def _noise(values: Float64) -> float:
    """Return the standard deviation of what is no smooth course, robust against few jumps."""
    bends = np.abs(np.diff(values, n=2))
    return float(1.4826 * np.median(bends) / np.sqrt(6.0)) if len(bends) else 0.0


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
