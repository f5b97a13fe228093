"""Sudden rises of a loss, and the jumps of the weights that go with them.

A rise is held against the scatter of the values just before it and against what was gained until
then; a jump of a layer against its own usual increments. Names what it finds and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.diagnostics.statistics.loss_curve import LossCurve
from koopscope.spectra.gram import SnapshotGram

#: Values before a rise whose median it is counted from, and the least number of them.
BEFORE, LEAST_BEFORE = 5, 3

#: Values before a rise whose scatter it is held against.
_SCATTER_OF = 16

#: A rise is sudden beyond so many standard deviations of that scatter, and beyond this part of what
#: was gained until then.
DEVIATIONS, PART_OF_GAIN = 8.0, 0.1

#: A run that gained less than so many of them has nothing yet that a rise could be a part of.
LEARNED = 4.0

#: It is over where less than this part of the rise (of the gain, if that is less) is left, for two
#: values in a row.
_LEFT = 0.25

#: A layer jumps where its increment is so many times the median of those before.
JUMP = 3.0


@dataclass(frozen=True)
class LossSpike:
    """One sudden rise of a loss.

    Attributes
    ----------
    before, at, peak
        Points of the curve: the last one before the rise, the first one of it, the highest.
    height
        Of the peak above the level before, in the loss's own unit.
    of_gain
        The same as part of what was gained until then.
    over
        Point at which it was over; ``None`` where it never was.
    """

    before: int
    at: int
    peak: int
    height: float
    of_gain: float
    over: int | None


def loss_spikes(curve: LossCurve) -> list[LossSpike]:
    """Return the sudden rises of a curve, in order; one that goes on is one spike."""
    values, found = curve.values, []
    t = LEAST_BEFORE
    while t < len(values):
        level = float(np.median(values[max(0, t - BEFORE) : t]))
        gained = float(values[0] - min(values[:t].min(), level))
        noise = curve.noise(max(0, t - _SCATTER_OF), t)
        rise = float(values[t]) - level
        least = max(DEVIATIONS * noise, PART_OF_GAIN * gained)
        if gained <= LEARNED * noise or rise <= least:
            t += 1
            continue
        over = _end(values, t, level, rise, gained)
        stop = len(values) if over is None else over
        peak = t + int(np.argmax(values[t:stop]))
        height = float(values[peak]) - level
        found.append(LossSpike(t - 1, t, peak, height, height / gained, over))
        t = stop + 1
    return found


def _end(values: Float64, at: int, level: float, rise: float, gained: float) -> int | None:
    """Return the first of two values in a row that are back near the level before.

    Near is a part of the rise; of one that went far beyond all that was ever gained, of that gain.
    """
    top = rise
    for t in range(at, len(values)):
        top = max(top, float(values[t]) - level)
        back = values[t : t + 2] - level <= _LEFT * min(top, gained)
        if t > at and back.all():
            return t
    return None


def jumping_layers(
    layers: Mapping[str, SnapshotGram], increments: range
) -> list[tuple[str, int, float]]:
    """Return the layers that jump in one of these increments: name, the first one, how far.

    How far is the largest of their increments there over the median of the eight before. The layer
    that jumps first comes first, among those of one increment the one that jumps farthest.
    """
    found = []
    for name, gram in layers.items():
        speeds = gram.speeds()
        usual = float(_median(speeds[max(0, increments.start - 8) : increments.start]))
        if usual <= 0.0:
            continue
        times = speeds[increments.start : increments.stop] / usual
        beyond = np.flatnonzero(times > JUMP)
        if len(beyond):
            found.append((name, increments.start + int(beyond[0]), float(times.max())))
    return sorted(found, key=lambda jump: (jump[1], -jump[2]))


def _median(values: Float64) -> float:
    return float(np.median(values)) if len(values) else 0.0
