"""Is an iterated operator a contraction along its iterates, and what follows if it is.

Puts the fixed point, the classical bounds and the ways to speed up into one record; the words for
it are found elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopscope.spectra.dmd import dmd
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.iterates.acceleration import (
    AndersonStep,
    NewtonStep,
    Relaxation,
    anderson_step,
    newton_step,
    relaxation,
)
from koopscope.spectra.iterates.fixed_point import FixedPoint, fixed_point

State = Literal[
    "contracting", "eventually_contracting", "non_expansive", "expanding", "inconclusive"
]

#: A ratio of successive increments this far above 1 is an expansion and not rounding.
RATIO_TOLERANCE = 1e-5

#: An interval around 1 narrower than this on either side says 1, a wider one says nothing.
NEUTRAL_RADIUS = 0.01

#: Depths of the Anderson steps looked at.
ANDERSON_DEPTHS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Iterations:
    """How many iterations until |x_n - x*| <= tolerance |x_0 - x*|.

    Attributes
    ----------
    tolerance
        As asked for.
    predicted, interval
        From the modes, and from the ends of the factor's interval; infinite where never.
    a_priori
        What the contraction theorem guarantees from x_0, x_1 and the bounding factor alone, or
        ``None`` where it is silent.
    """

    tolerance: float
    predicted: float
    interval: tuple[float, float]
    a_priori: float | None


@dataclass(frozen=True)
class Contraction:
    """What iterates tell of the operator they come from.

    Attributes
    ----------
    fixed
        Factor, interval and predicted fixed point.
    state
        ``contracting``: every increment was shorter than the one before, and the factor is below 1.
        ``eventually_contracting``: the factor is below 1 although some increments grew (a
        non-normal or nonlinear operator). ``non_expansive``: neither grows nor decays in the end.
        ``expanding``: the factor is above 1. ``inconclusive``: the interval holds both sides of 1.
    bounding_factor
        The larger of the interval's end and the largest ratio, where that is below 1: what the
        bounds rest on.
    a_priori, a_posteriori
        Bounds on |x_n - x*| for the last usable iterate, from the first increment and from the
        last one; ``None`` without a bounding factor.
    iterations
        One entry for each tolerance asked for.
    relaxation, anderson, newton
        What would speed it up.
    """

    fixed: FixedPoint
    state: State
    bounding_factor: float | None
    a_priori: float | None
    a_posteriori: float | None
    iterations: tuple[Iterations, ...]
    relaxation: Relaxation
    anderson: tuple[AndersonStep, ...]
    newton: NewtonStep | None


def contraction(
    gram: SnapshotGram, rounding_length: float, tolerances: Sequence[float]
) -> Contraction:
    """Return what iterates tell of their operator.

    Parameters
    ----------
    gram, rounding_length
        See ``fixed_point``.
    tolerances
        Relative to the distance of the first iterate from the fixed point.

    Raises
    ------
    KoopscopeError
        If there are too few iterates.
    """
    fixed = fixed_point(gram, rounding_length)
    gram = gram.window(0, fixed.usable)
    lengths = gram.speeds()
    bound = max(fixed.interval[1], fixed.largest_ratio)
    q = bound if bound < 1.0 else None
    all_increments = dmd(gram, "increments", rank=fixed.spectrum.rank)
    return Contraction(
        fixed=fixed,
        state=_state(fixed),
        bounding_factor=q,
        a_priori=None if q is None else q ** (fixed.usable - 1) / (1.0 - q) * float(lengths[0]),
        a_posteriori=None if q is None else q / (1.0 - q) * float(lengths[-1]),
        iterations=tuple(_iterations(fixed, t, q, float(lengths[0])) for t in tolerances),
        relaxation=relaxation(all_increments.eigenvalues),
        anderson=tuple(
            anderson_step(gram, depth, rounding_length)
            for depth in ANDERSON_DEPTHS
            if depth < len(lengths)
        ),
        newton=newton_step(gram, fixed, rounding_length),
    )


def _state(fixed: FixedPoint) -> State:
    low, high = fixed.interval
    grew = fixed.largest_ratio > 1.0 + RATIO_TOLERANCE
    if low > 1.0:
        return "expanding"
    if high < 1.0:
        return "eventually_contracting" if grew else "contracting"
    if max(high - 1.0, 1.0 - low) < NEUTRAL_RADIUS:
        return "non_expansive"
    return "inconclusive"


def _iterations(fixed: FixedPoint, tolerance: float, q: float | None, first: float) -> Iterations:
    predicted = fixed.iterations(tolerance)
    reached = fixed.usable - 1
    if predicted <= reached:
        interval = (predicted, predicted)
    else:
        low, high = (
            reached + (predicted - reached) * _slower(fixed.factor, bound)
            for bound in fixed.interval
        )
        interval = (min(low, predicted), max(high, predicted))
    guaranteed = None
    if q is not None and np.isfinite(fixed.distances[0]):
        allowed = tolerance * float(fixed.distances[0]) * (1.0 - q) / first
        guaranteed = max(0.0, math.ceil(math.log(allowed) / math.log(q)))
    return Iterations(tolerance, predicted, interval, guaranteed)


def _slower(factor: float, other: float) -> float:
    """Return how many times the iterations of ``factor`` another factor takes."""
    if other >= 1.0:
        return math.inf
    if factor <= 0.0 or other <= 0.0:
        return 0.0
    return math.log(factor) / math.log(other)
