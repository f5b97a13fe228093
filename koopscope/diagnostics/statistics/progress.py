"""How a run was getting on at its end: how the loss fell, and how the weights moved meanwhile.

Shares are of what was gained, so nothing depends on a loss's zero or unit. Decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.statistics.loss_curve import (
    LossCurve,
    training_curve,
    validation_curve,
)
from koopscope.diagnostics.statistics.trajectory import layer_grams
from koopscope.spectra.geometry import Geometry, course
from koopscope.spectra.gram import total

#: Fewer points of a curve do not tell progress from noise.
LEAST_POINTS = 12

#: A loss ends near its best, and is quiet, within this part of its gain.
NEAR_BEST = 0.1

#: What counts as better, as part of the gain.
NEXT_TO_NOTHING = 1e-4


@dataclass(frozen=True)
class LossProgress:
    """The last part of a curve, in shares of all that it gained.

    Attributes
    ----------
    metric
        Its name.
    quarter, quarter_error
        How far it fell in the last quarter, and the standard error of that.
    half
        How far it fell in the last half.
    rough
        Scatter of its values about a smooth line, in the last half.
    above
        How far the end lies above the best.
    stale
        Points since the last value that was better than all before by more than ``NEXT_TO_NOTHING``
        of the gain.
    gained
        Whether it gained anything at all beyond its scatter; else the shares are of that scatter.
    """

    metric: str
    quarter: float
    quarter_error: float
    half: float
    rough: float
    above: float
    stale: int
    gained: bool


@dataclass(frozen=True)
class Drift:
    """How the whole network moved; see ``koopscope.spectra.geometry.course``.

    Attributes
    ----------
    cosine
        Mean cosine of successive increments, last 16 snapshots.
    directness
        Distance from the start over the length of the way.
    travel
        Distance from the start over the first norm.
    speed
        Mean of the last four increments over the mean of all.
    first_scale
        Root mean square of the first weights.
    """

    cosine: float
    directness: float
    travel: float
    speed: float
    first_scale: float


def loss_progress(curve: LossCurve | None) -> LossProgress | None:
    """Return how a curve was getting on; ``None`` where there is none or it has too few points."""
    if curve is None or len(curve) < LEAST_POINTS:
        return None
    noise = curve.noise(len(curve) // 2)
    early = curve.noise(0, len(curve) // 2)
    gained = curve.gain > 3.0 * max(noise, early) / math.sqrt(curve.width)
    scale = curve.gain if gained else max(curve.gain, noise, early, 1e-300)
    quarter, error = curve.fall(0.25)
    return LossProgress(
        metric=curve.choice.name,
        quarter=quarter / scale,
        quarter_error=error / scale,
        half=curve.fall(0.5)[0] / scale,
        rough=noise / scale,
        above=float(curve.smooth[-1] - curve.smooth.min()) / scale,
        stale=_stale(curve.values, NEXT_TO_NOTHING * scale),
        gained=gained,
    )


def _stale(values: Float64, least: float) -> int:
    """Return how many values came after the last one that was better than all by ``least``."""
    best, last = math.inf, 0
    for index, value in enumerate(values.tolist()):
        if value < best - least:
            best, last = value, index
    return len(values) - 1 - last


def ended_at_its_best(analysis: Analysis) -> bool:
    """Return whether the recorded loss gained, and ends near its best without much scatter.

    The training loss, since one that only the validation metric rises above is over-fitting; the
    validation metric where no training loss is recorded.
    """
    loss = loss_progress(training_curve(analysis) or validation_curve(analysis))
    if loss is None or not loss.gained:
        return False
    return loss.above < NEAR_BEST and loss.rough < NEAR_BEST


def drift_of(analysis: Analysis) -> Drift | None:
    """Return how the network moved inside the window; ``None`` where nothing did."""
    layers = layer_grams(analysis)
    network = total(layers.values()) if layers else None
    if network is None or network.path_length() <= 0.0:
        return None
    last = {name: float(values[-1]) for name, values in course(Geometry(network)).items()}
    return Drift(
        cosine=last["cosine"],
        directness=last["directness_all"],
        travel=math.exp(last["travel"]),
        speed=math.exp(last["speed"]),
        first_scale=math.sqrt(max(network.anchor_square, 0.0) / network.size),
    )


def rate_left(analysis: Analysis) -> float | None:
    """Return the last recorded learning rate over the largest; ``None`` where none is recorded."""
    inside = slice(analysis.window.first, analysis.window.stop)
    rates = np.asarray(analysis.description.metrics.get("lr", ()), float)[inside]
    rates = rates[np.isfinite(rates)]
    if not len(rates) or not rates.max() > 0.0:
        return None
    return float(rates[-1] / rates.max())
