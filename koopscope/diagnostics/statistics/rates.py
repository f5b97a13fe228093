"""The causal statistics of a recorded learning rate: how it changed, never what it is in numbers.

A rate says nothing by itself, but a rate that was lowered explains why the weights slow down and
the loss falls at once. Arrays in, arrays out; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from koopscope._types import Float64

#: The metric under which a learning rate is recorded.
RATE = "lr"

#: A change by less than this part of the largest rate so far is none.
_CHANGE = 0.01

#: Logarithms of ratios stay within +- this.
_MOST = 6.0


def recorded_rate(metrics: Mapping[str, Float64], first: int, stop: int) -> Float64 | None:
    """Return the recorded rate, gaps filled with the one before, or ``None`` where there is none.

    A rate that is not given at every fifth snapshot or more, or nowhere positive, is not used.
    """
    rates = np.array(metrics.get(RATE, ())[first:stop], float)
    given = np.isfinite(rates) & (rates >= 0.0)
    if not len(rates) or given.sum() < max(2.0, 0.8 * len(rates)) or not (rates[given] > 0.0).any():
        return None
    source = np.maximum.accumulate(np.where(given, np.arange(len(rates)), -1))
    filled: Float64 = rates[np.where(source < 0, int(np.argmax(given)), source)]
    return filled


def course(rates: Float64 | None, snapshots: int) -> dict[str, Float64]:
    """Return the causal statistics of a rate, each float64 [T]; none changes with its unit.

    Where no rate was recorded, they are those of a constant one, but for ``known``.

    Returns
    -------
    known
        1 where a rate was recorded, else 0.
    now
        log(rate / largest so far).
    half, quarter, last
        log(rate / rate halfway, three quarters of the way, one snapshot before).
    since
        Share of the snapshots so far since the rate last changed; 1 where it never did.
    spent
        log(mean so far / largest so far).
    recent
        log(mean of the last half / mean so far).
    """
    known = np.full(snapshots, float(rates is not None))
    if rates is None:
        rates = np.ones(snapshots)
    t = np.arange(snapshots)
    largest = np.maximum.accumulate(rates)
    sums = np.concatenate([[0.0], np.cumsum(rates)])
    mean = sums[t + 1] / (t + 1)
    recent = (sums[t + 1] - sums[t // 2]) / (t + 1 - t // 2)
    moved = np.abs(np.diff(rates, prepend=rates[:1])) > _CHANGE * largest
    changed = np.maximum.accumulate(np.where(moved, t, 0))
    return {
        "known": known,
        "now": _log(rates, largest),
        "half": _log(rates, rates[t // 2]),
        "quarter": _log(rates, rates[(3 * t) // 4]),
        "last": _log(rates, rates[np.maximum(t - 1, 0)]),
        "since": (t - changed) / np.maximum(t, 1),
        "spent": _log(mean, largest),
        "recent": _log(recent, mean),
    }


def _log(part: Float64, whole: Float64) -> Float64:
    """Return log(part / whole) within bounds, where zero is as small as can be; 0 for 0 / 0."""
    least = np.exp(-_MOST)
    nothing = (part <= 0.0) & (whole <= 0.0)
    ratio = np.divide(part, whole, out=np.full_like(part, 1.0 / least), where=whole > 0.0)
    return np.where(nothing, 0.0, np.log(np.clip(ratio, least, 1.0 / least)))
