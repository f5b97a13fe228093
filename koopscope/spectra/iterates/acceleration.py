"""What would reach the fixed point sooner than plain iteration: relaxation, Anderson, Newton.

Judged from the iterates' inner products alone, before any of it is tried. Decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from koopscope._types import Complex128
from koopscope.errors import KoopscopeError
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.iterates.fixed_point import FixedPoint, fixed_point

#: Relaxation weights searched: 1 would stand still, and beyond -1 even zero eigenvalues grow.
LOWEST_WEIGHT, HIGHEST_WEIGHT = -0.95, 0.99


@dataclass(frozen=True)
class Relaxation:
    """The best x <- a x + (1 - a)(T(x) + f).

    Attributes
    ----------
    weight
        a: positive damps (Krasnoselskii-Mann), negative over-relaxes.
    factor
        Its predicted contraction factor.
    damped_weight, damped_factor
        The best among weights that are not negative.
    """

    weight: float
    factor: float
    damped_weight: float
    damped_factor: float


@dataclass(frozen=True)
class AndersonStep:
    """One Anderson step from the last iterates.

    Attributes
    ----------
    depth
        Number m of earlier increments combined with the last.
    residual
        Length of what is left of the increment, relative to the last one, to first order.
    """

    depth: int
    residual: float


@dataclass(frozen=True)
class NewtonStep:
    """One Newton step in the span of the iterates, tried out on the recorded ones.

    Attributes
    ----------
    at
        Index of the iterate it is made from: everything up to there is known to it.
    error
        |x^ - x*| / |x_at - x*|: its predicted fixed point against the one predicted from all
        iterates.
    """

    at: int
    error: float


def relaxation(eigenvalues: Complex128) -> Relaxation:
    """Return the weight a that makes max |a + (1 - a) lambda| smallest, 0 among the eigenvalues.

    Directions that the iterates never showed have eigenvalues near 0 rather than near 1: they are
    what decayed at once. The maximum of moduli of affine functions is convex in a.
    """
    from scipy.optimize import minimize_scalar  # slow to load, and most runs hold no iterates

    spectrum = np.append(eigenvalues, 0.0)

    def factor(weight: float) -> float:
        return float(np.abs(weight + (1.0 - weight) * spectrum).max())

    def best(lowest: float) -> tuple[float, float]:
        optimum = minimize_scalar(
            factor, bounds=(lowest, HIGHEST_WEIGHT), method="bounded", options={"xatol": 1e-6}
        )
        weight = float(optimum.x)
        return (weight, factor(weight)) if factor(weight) < factor(0.0) else (0.0, factor(0.0))

    return Relaxation(*best(LOWEST_WEIGHT), *best(0.0))


def anderson_step(gram: SnapshotGram, depth: int, rounding_length: float = 0.0) -> AndersonStep:
    """Return what one Anderson step of a given depth leaves of the last increment.

    For an affine operator the increment at sum_i g_i x_i with sum_i g_i = 1 is sum_i g_i d_i, so
    the smallest |sum g d|^2 + rounding^2 |g|^2 over the last ``depth + 1`` increments is all there
    is to know (Walker and Ni 2011, eq. 2.1).

    Raises
    ------
    KoopscopeError
        If there are not that many increments.
    """
    moves = gram.snapshots - 1
    if not 1 <= depth < moves:
        raise KoopscopeError(
            f"an Anderson step of depth {depth} needs {depth + 1} increments, there are {moves}",
            "use a smaller depth",
        )
    lengths = gram.speeds()[-depth - 1 :]
    noise = (rounding_length / lengths[-1]) ** 2
    D = gram.increments[-depth - 1 :, -depth - 1 :] / lengths[-1] ** 2
    squares, vectors = np.linalg.eigh(D)
    floor = len(D) * np.finfo(np.float64).eps * float(squares[-1])
    squares = np.maximum(squares, floor) + noise
    ones = vectors.T @ np.ones(len(D))
    return AndersonStep(depth, min(1.0, 1.0 / math.sqrt(float(np.sum(ones**2 / squares)))))


def newton_step(
    gram: SnapshotGram, whole: FixedPoint, rounding_length: float = 0.0
) -> NewtonStep | None:
    """Try a Newton step from two thirds of the way; None where that leaves too few iterates.

    For an affine operator, the extrapolated fixed point solves (1 - K) x = f in the span of the
    increments: it is the Newton step as far as that span goes.
    """
    at = 2 * whole.usable // 3
    try:
        early = fixed_point(gram.window(0, at + 1), rounding_length)
    except KoopscopeError:
        return None
    if early.usable != at + 1 or not whole.distances[at] > 0.0:
        return None
    moves = whole.usable - 1
    off = np.zeros(moves)
    off[:at] = early.combination
    off -= whole.combination
    off[at:] -= 1.0
    D = gram.increments[:moves, :moves]
    error = math.sqrt(max(float(off @ D @ off), 0.0)) / float(whole.distances[at])
    return NewtonStep(at, error) if math.isfinite(error) else None


def iterations_worth(reduction: float, factor: float) -> float | None:
    """Return how many plain iterations reduce the error as much; None where those never do."""
    if not 0.0 < factor < 1.0:
        return None
    return math.log(max(reduction, np.finfo(np.float64).tiny)) / math.log(factor)
