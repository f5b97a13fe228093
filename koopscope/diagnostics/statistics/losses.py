"""Causal statistics of a recorded loss, at every snapshot, relative to what was gained so far.

Levels differ between tasks, so nothing here depends on the loss's unit. Never sees a weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64

#: Changes below this part of what was gained so far are taken as nothing.
_RESOLUTION = 0.003

#: A loss that is given at fewer than this share of the snapshots is not used.
_LEAST_GIVEN = 0.8

#: Names under which training and validation losses are recorded, by convention.
TRAINING = ("loss", "train_loss")
VALIDATION = ("val_loss", "validation_loss", "eval_loss")


def recorded(
    metrics: Mapping[str, Float64], names: tuple[str, ...], first: int, stop: int
) -> Float64 | None:
    """Return the loss under the first of these names that is there, gaps filled, or ``None``.

    A gap takes the value before it (at the start, the one after): the past is never told about
    the future but for a missing first value.
    """
    for name in names:
        values = np.array(metrics.get(name, ())[first:stop], float)
        given = np.isfinite(values)
        if len(values) and given.sum() >= max(2.0, _LEAST_GIVEN * len(values)):
            source = np.maximum.accumulate(np.where(given, np.arange(len(values)), -1))
            return values[np.where(source < 0, int(np.argmax(given)), source)]
    return None


def course(loss: Float64) -> dict[str, Float64]:
    """Return the causal statistics of a loss, each float64 [T].

    With gain = loss at the start - least loss so far:

    Returns
    -------
    above
        log((loss - least so far) / gain + 0.003).
    since
        log(1 + snapshots since the least).
    trend, trend_quarter
        Decrease of the mean from one four snapshots (one quarter of the run so far) to the next,
        over the gain, as asinh(100 x).
    noise
        log(scatter of the last 16 values about a smooth line / gain + 0.003).
    ratio
        log(loss now / loss at the start), for positive losses; else 0.
    lowest_of_three
        1 where the loss is the lowest of the last three, else 0.
    bounce
        log(largest loss so far / loss at the start), for positive losses; else 0.
    """
    T = len(loss)
    t = np.arange(T)
    least = np.minimum.accumulate(loss)
    gain = np.maximum(loss[0] - least, _RESOLUTION * (abs(loss[0]) + 1e-9))
    argleast = np.maximum.accumulate(np.where(loss <= least, t, 0))
    back = np.maximum(4, t // 4)
    positive = bool((loss > 0.0).all())
    first = loss[0] if positive else 1.0
    bend = np.concatenate([[0.0, 0.0], np.square(np.diff(loss, n=2)) / 6.0])
    return {
        "above": np.log((loss - least) / gain + _RESOLUTION),
        "since": np.log1p(t - argleast),
        "trend": np.arcsinh(100.0 * _decrease(loss, t, np.full(T, 4)) / gain),
        "trend_quarter": np.arcsinh(100.0 * _decrease(loss, t, back) / gain),
        "noise": np.log(np.sqrt(_mean(bend, t - 13, t + 1)) / gain + _RESOLUTION),
        "lowest_of_three": (loss <= _least_of_last(loss, 3)).astype(float),
        "ratio": np.log(loss / first) if positive else np.zeros(T),
        "bounce": np.log(np.maximum.accumulate(loss) / first) if positive else np.zeros(T),
    }


def _mean(values: Float64, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> Float64:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(low, 0)
    means: Float64 = (sums[high] - sums[low]) / np.maximum(high - low, 1)
    return means


def _decrease(loss: Float64, t: npt.NDArray[np.intp], back: npt.NDArray[np.intp]) -> Float64:
    """Return mean(the ``back`` values before the last ``back``) - mean(the last)."""
    recent = _mean(loss, t + 1 - back, t + 1)
    before = _mean(loss, np.maximum(t + 1 - 2 * back, 0), np.maximum(t + 1 - back, 1))
    return before - recent


def _least_of_last(loss: Float64, count: int) -> Float64:
    padded = np.concatenate([np.full(count - 1, np.inf), loss])
    least: Float64 = np.lib.stride_tricks.sliding_window_view(padded, count).min(axis=1)
    return least
