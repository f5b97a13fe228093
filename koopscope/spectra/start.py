"""How the weights set out: what the first few snapshots of each tensor show.

A healthy start moves every layer, in a straight line at first, by a length that fits its scale.
Arrays in, numbers out; gives no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.spectra.geometry import Geometry
from koopscope.spectra.gram import SnapshotGram

#: Lengths below this part of a tensor's scale count as no motion.
_STILL = 1e-9


@dataclass(frozen=True)
class TensorStart:
    """How one weight matrix set out. Logarithms are natural.

    Attributes
    ----------
    scale
        log(root mean square of the first snapshot x sqrt(fan-in)): about -0.55 for PyTorch's
        uniform default, 0.35 for He's normal one.
    shift
        log(root mean square displacement x sqrt(fan-in)).
    travel
        log(displacement / first norm).
    growth
        log(last norm / first norm).
    directness
        Displacement over way.
    cosine
        Mean cosine of successive increments.
    trend
        log(mean of the last two increments / mean of the first two).
    burst
        log(largest increment / median increment).
    """

    scale: float
    shift: float
    travel: float
    growth: float
    directness: float
    cosine: float
    trend: float
    burst: float


def tensor_start(gram: SnapshotGram, fan_in: int) -> TensorStart:
    """Return how a tensor set out, from a window of at least three snapshots, all finite.

    Parameters
    ----------
    gram
        The tensor's inner products over the window.
    fan_in
        Weights into one unit: the size of a snapshot over its first dimension.
    """
    geometry = Geometry(gram)
    speeds, norms = geometry.speeds, geometry.norms
    to_unit = np.sqrt(fan_in / gram.size)
    moved = gram.displacement()
    first, last = float(norms[0]), float(norms[-1])
    floor = 1e-6 / float(to_unit)
    successive = np.diagonal(geometry.cosines, 1)
    return TensorStart(
        scale=_log(first * to_unit, 1e-6),
        shift=_log(moved * to_unit, _STILL),
        travel=_log(moved / (first + floor), _STILL),
        growth=_log((last + floor) / (first + floor), _STILL),
        directness=moved / gram.path_length() if gram.path_length() > 0.0 else 0.0,
        cosine=float(successive.mean()) if len(successive) else 0.0,
        trend=_log(_over(speeds[-2:].mean(), speeds[:2].mean()), 1e-6),
        burst=_log(_over(speeds.max(), np.median(speeds)), 1e-6),
    )


def summary(starts: Sequence[TensorStart]) -> dict[str, float]:
    """Return least, median and largest of every statistic over the tensors."""
    result: dict[str, float] = {}
    for name in TensorStart.__dataclass_fields__:
        values: Float64 = np.array([getattr(start, name) for start in starts])
        result[f"{name}_least"] = float(values.min())
        result[f"{name}_median"] = float(np.median(values))
        result[f"{name}_most"] = float(values.max())
    return result


def _log(value: float, floor: float) -> float:
    return float(np.log(min(max(value, floor), 1e12)))


def _over(part: float, total: float) -> float:
    return float(part / total) if total > 0.0 else (1e6 if part > 0.0 else 1.0)
