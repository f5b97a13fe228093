"""The causal statistics of a recorded loss, and how losses are found among the metrics.

Every statistic at snapshot t uses the snapshots up to t alone, and none changes when the loss is
multiplied by a positive number or has a constant added: a loss may be negative, and its zero is a
convention. Arrays in, arrays out; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64

#: Changes below this part of what was gained so far are taken as nothing.
_RESOLUTION = 0.003

#: A loss that is given at fewer than this share of the snapshots is not used.
_LEAST_GIVEN = 0.8

#: Snapshots that falls of the mean look at, and that noise is taken from.
WINDOWS = (3, 5, 10, 20)
_NOISE_FROM = 16

#: Values whose order is looked at.
_ORDER_OF = 12

#: A fall over its noise beyond this is as sure as it gets.
_SURE = 30.0

#: Losses beyond this are cut: their squares have to be numbers.
_LARGEST = 1e100

Indices = npt.NDArray[np.intp]


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

    All are relative to the gain so far, loss at the start - least loss so far (where there is
    hardly any, to a small part of the range so far); m(s) is the mean of a tenth of the snapshots
    so far that ends at s.

    Returns
    -------
    above
        log((loss - least so far) / gain + 0.003).
    since, since_share, since_smooth
        log(1 + snapshots since the least); their share of all; the same for means of five.
    fall_3, fall_5, fall_10, fall_20
        Decrease of the mean from so many snapshots to the next, as asinh(100 x).
    sure_5, sure_10, sure_20
        The same decrease over its noise, within +-30.
    quarter, half
        m(3 t / 4) - m(t) and m(t / 2) - m(t), as asinh(100 x).
    bend
        How the last doubling's decrease compares to the one before: -1 .. 1, 0.5 for as much.
    ahead
        The decrease that a power law foresees until twice the length, as asinh(100 x).
    slope, slope_sure
        Decrease over a doubling by a straight line in log t through the last half, as
        asinh(100 x); its slope over the slope's error, within +-30.
    noise
        log(scatter of the last 16 values about a smooth line / gain + 0.003).
    jumps
        log(scatter of the last 16 differences / gain + 0.003).
    early
        Share of the gain that was there after an eighth of the snapshots.
    rise, bounce, floor
        Mean of the last three, largest so far, and least of the last five, above the loss at the
        start, as asinh(x).
    peak
        Largest of the last quarter above the least so far, as log(x + 0.003).
    lowest_of_three
        1 where the loss is the lowest of the last three, else 0.
    block, block_sure, block_bend
        Mean of the quarter before the last minus that of the last quarter, as asinh(100 x); it
        over its noise; how it compares to the decrease before, -1 .. 1.
    best_half, best_quarter, best_eighth
        By how much the least so far was bettered in the last half, quarter and eighth, as
        asinh(100 x).
    order
        Of all pairs among the last 12 values, the share that rose minus the share that fell.
    """
    return _Loss.of(loss).statistics()


@dataclass(frozen=True)
class _Loss:
    """A loss with the running sums that its statistics are made of."""

    values: Float64
    t: Indices
    least: Float64
    scale: Float64
    sums: Float64

    @classmethod
    def of(cls, values: Float64) -> _Loss:
        values = np.clip(values, -_LARGEST, _LARGEST)
        values = values - values[0]
        least = np.minimum.accumulate(values)
        spread = np.maximum.accumulate(values) - least
        scale = np.maximum(-least, _RESOLUTION * spread)
        scale = np.where(
            scale > 0.0, scale, 1.0
        )  # nothing has changed: every statistic is of zeros
        return cls(values, np.arange(len(values)), least, scale, _summed(values))

    def mean(self, low: Indices, high: Indices) -> Float64:
        """Return the means of ``[low, high)``, which is moved to hold at least one snapshot."""
        return _mean(self.sums, low, high)

    def around(self, s: Indices) -> Float64:
        """Return m(s): the mean of a tenth of the snapshots so far that ends at ``s``."""
        return self.mean(s + 1 - np.maximum(1, self.t // 10), s + 1)

    def fall(self, back: int) -> Float64:
        """Return mean(the ``back`` values before the last ``back``) - mean(the last)."""
        t = self.t
        recent = self.mean(t + 1 - back, t + 1)
        before = self.mean(t + 1 - 2 * back, np.maximum(t + 1 - back, 1))
        return before - recent

    def statistics(self) -> dict[str, Float64]:
        values, t, least, scale = self.values, self.t, self.least, self.scale
        latest = np.maximum.accumulate(np.where(values <= least, t, 0))
        smooth = self.mean(t - 4, t + 1)
        smoothest = np.maximum.accumulate(np.where(smooth <= np.minimum.accumulate(smooth), t, 0))
        bends = np.concatenate([[0.0, 0.0], np.square(np.diff(values, n=2)) / 6.0])
        steps = np.concatenate([[0.0], np.square(np.diff(values))])
        noise = np.sqrt(_mean(_summed(bends), np.maximum(t + 1 - _NOISE_FROM, 2), t + 1))
        jumps = np.sqrt(_mean(_summed(steps), np.maximum(t + 1 - _NOISE_FROM, 1), t + 1))
        now, half = self.around(t), self.around(t // 2)
        last = half - now
        before = self.around(t // 4) - half
        both = np.abs(last) + np.abs(before) + 0.1 * noise
        keeps = np.clip(_over(last, before), 0.0, 1.0) * (last > 0.0) * (before > 0.0)
        slope, slope_sure = self._slope()
        falls = {back: self.fall(back) for back in WINDOWS}
        return {
            "above": np.log((values - least) / scale + _RESOLUTION),
            "since": np.log1p(t - latest),
            "since_share": (t - latest) / np.maximum(t, 1),
            "since_smooth": (t - smoothest) / np.maximum(t, 1),
            **{f"fall_{back}": _signed(fall / scale) for back, fall in falls.items()},
            **{
                f"sure_{back}": _sure(falls[back], noise * np.sqrt(2.0 / back))
                for back in WINDOWS[1:]
            },
            "quarter": _signed((self.around((3 * t) // 4) - now) / scale),
            "half": _signed(last / scale),
            "bend": _over(last, both),
            "ahead": _signed(last * keeps / scale),
            "slope": _signed(slope * np.log(2.0) / scale),
            "slope_sure": slope_sure,
            "noise": np.log(noise / scale + _RESOLUTION),
            "jumps": np.log(jumps / scale + _RESOLUTION),
            "early": -self.around(t // 8) / scale,
            "rise": np.arcsinh(self.mean(t - 2, t + 1) / scale),
            "bounce": np.arcsinh(np.maximum.accumulate(values) / scale),
            "floor": np.arcsinh(_least_of_last(values, 5) / scale),
            "peak": np.log(np.maximum(_largest(values, t) - least, 0.0) / scale + _RESOLUTION),
            "lowest_of_three": (values <= _least_of_last(values, 3)).astype(float),
            **self._blocks(bends),
            "order": _order(values, _ORDER_OF),
        }

    def _blocks(self, bends: Float64) -> dict[str, Float64]:
        """Compare quarters of the snapshots so far, and the least of each part to the one before.

        ``bends`` are the squares that noise is the mean of, by snapshot.
        """
        t, least, scale = self.t, self.least, self.scale
        quarter = np.maximum(1, (t + 1) // 4)
        ends = [t + 1 - k * quarter for k in range(4)]
        last, before, earlier = (self.mean(ends[k + 1], ends[k]) for k in range(3))
        squares = _mean(_summed(bends), np.maximum(t + 1 - 2 * quarter, 2), t + 1)
        noise = np.sqrt(squares)
        fall, fell = before - last, earlier - before
        return {
            "block": _signed(fall / scale),
            "block_sure": _sure(fall, noise * np.sqrt(2.0 / quarter)),
            "block_bend": _over(fall, np.abs(fall) + np.abs(fell) + 0.1 * noise),
            "best_half": _signed((least[t // 2] - least) / scale),
            "best_quarter": _signed((least[(3 * t) // 4] - least) / scale),
            "best_eighth": _signed((least[(7 * t) // 8] - least) / scale),
        }

    def _slope(self) -> tuple[Float64, Float64]:
        """Return minus the slope of the loss over log(1 + t), last half, and it over its error."""
        t, y = self.t, self.values
        x = np.log1p(t.astype(float))
        low, high = np.minimum(t // 2, np.maximum(t - 3, 0)), t + 1
        mean_x, mean_y = _mean(_summed(x), low, high), self.mean(low, high)
        var_x = np.maximum(_mean(_summed(x * x), low, high) - mean_x**2, 0.0)
        var_y = np.maximum(_mean(_summed(y * y), low, high) - mean_y**2, 0.0)
        joint = _mean(_summed(x * y), low, high) - mean_x * mean_y
        slope = -_over(joint, np.where(var_x > 1e-12, var_x, 0.0))
        rest = np.maximum(var_y - slope**2 * var_x, 0.0)
        error = np.sqrt(_over(rest, var_x * np.maximum(high - low - 2, 1)))
        return slope, _sure(slope, error)


def _summed(values: Float64) -> Float64:
    return np.concatenate([[0.0], np.cumsum(values)])


def _mean(sums: Float64, low: Indices, high: Indices) -> Float64:
    low = np.maximum(low, 0)
    means: Float64 = (sums[np.maximum(high, low)] - sums[low]) / np.maximum(high - low, 1)
    return means


def _over(part: Float64, whole: Float64) -> Float64:
    return np.divide(part, whole, out=np.zeros_like(part), where=np.abs(whole) > 0.0)


def _sure(fall: Float64, error: Float64) -> Float64:
    floor = np.maximum(error, np.abs(fall) / _SURE)
    return _over(fall, floor)


def _signed(values: Float64) -> Float64:
    """Return asinh(100 x): a logarithm of both signs that resolves a hundredth."""
    return np.arcsinh(100.0 * values)


def _order(values: Float64, count: int) -> Float64:
    """Return the share of rising minus that of falling pairs among the last ``count`` values."""
    T = len(values)
    sums, pairs = np.zeros(T), np.zeros(T)
    for lag in range(1, min(count, T)):
        signs = np.concatenate([np.zeros(lag), np.sign(values[lag:] - values[:-lag])])
        low = np.maximum(np.arange(T) + 1 - (count - lag), lag)
        high = np.maximum(np.arange(T) + 1, low)
        sums += _summed(signs)[high] - _summed(signs)[low]
        pairs += high - low
    return _over(sums, pairs)


def _largest(values: Float64, t: Indices) -> Float64:
    return np.array([values[(3 * s) // 4 : s + 1].max() for s in t])


def _least_of_last(loss: Float64, count: int) -> Float64:
    padded = np.concatenate([np.full(count - 1, np.inf), loss])
    least: Float64 = np.lib.stride_tricks.sliding_window_view(padded, count).min(axis=1)
    return least
