"""Truncation rules: how many singular directions of the snapshots carry signal.

The vocabulary is the field's (PyDMD's ``svd_rank``): a positive integer, an energy fraction in
(0, 1), 0 for the optimal hard threshold, -1 for no truncation. ``auto``, the default, is ours: the
rank whose spectra predict held-out snapshots best (``koopscope.spectra.heldout``).
"""

from __future__ import annotations

import math
import numbers

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError

RankRule = int | float | str

AUTO = "auto"


def check_rank_rule(rule: object) -> RankRule:
    """Return the rule as a plain int or float, or ``auto``.

    Raises
    ------
    KoopscopeError
        If it is none of the five kinds. NumPy integers and floats count as numbers, booleans do
        not, and 8.0 is refused rather than guessed at.
    """
    if rule == AUTO and isinstance(rule, str):
        return AUTO
    if isinstance(rule, numbers.Integral) and not isinstance(rule, bool) and int(rule) >= -1:
        return int(rule)
    if isinstance(rule, numbers.Real) and not isinstance(rule, numbers.Integral):
        value = float(rule)
        if 0.0 < value < 1.0:
            return value
    raise KoopscopeError(
        f"rank {rule!r} is not a truncation rule",
        "use auto, a positive integer, a fraction of energy such as 0.99, 0 (optimal hard "
        "threshold) or -1 (none)",
    )


def gram_resolution(size: int) -> float:
    """Return which singular values a squared (Gram) matrix resolves, relative to the largest.

    eigh of an m x m Gram matrix is exact to about m eps times its largest eigenvalue, so singular
    values are known down to sqrt(m eps) of the largest, 1e-7 or so.
    """
    return math.sqrt(size * float(np.finfo(np.float64).eps))


def numerical_rank(
    singular_values: npt.NDArray[np.float64], resolution: float | None = None
) -> int:
    """Count the singular values above a resolution, relative to the largest.

    By default that is what a squared (Gram) matrix of their number can resolve.
    """
    if not len(singular_values) or singular_values[0] <= 0.0:
        return 0
    if resolution is None:
        resolution = gram_resolution(len(singular_values))
    return int(np.count_nonzero(singular_values > resolution * singular_values[0]))


def truncation_rank(
    singular_values: npt.NDArray[np.float64],
    rule: RankRule,
    aspect_ratio: float = 0.0,
    resolution: float | None = None,
) -> int:
    """Return how many leading singular values the rule keeps.

    Parameters
    ----------
    singular_values
        In descending order.
    rule
        See the module's first lines; ``auto`` has to be resolved to a rank before.
    aspect_ratio
        Snapshots over weights, the shorter side of the data matrix over the longer.
    resolution
        See ``numerical_rank``.

    Returns
    -------
    At least 1 and at most the numerical rank; 0 only where nothing moves.

    Raises
    ------
    KoopscopeError
        If there is no such rule, or ``auto`` was not resolved.
    """
    rule = check_rank_rule(rule)
    available = numerical_rank(singular_values, resolution)
    if available == 0:
        return 0
    if rule == -1:
        wanted = available
    elif rule == 0:
        wanted = int(
            np.count_nonzero(singular_values > _hard_threshold(singular_values, aspect_ratio))
        )
    elif isinstance(rule, int):
        wanted = rule
    elif isinstance(rule, str):
        raise KoopscopeError(
            f"rank {rule!r} cannot be told from singular values alone", "use koopscope.spectra.dmd"
        )
    else:
        energy = np.cumsum(singular_values**2)
        wanted = int(np.searchsorted(energy / energy[-1], rule)) + 1
    return max(1, min(wanted, available))


def _hard_threshold(singular_values: npt.NDArray[np.float64], aspect_ratio: float) -> float:
    """Gavish and Donoho (2014), eq. 5: the cubic fit of omega(beta) times the median."""
    beta = min(max(aspect_ratio, 0.0), 1.0)
    omega = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    count = len(singular_values)  # in order, so the median is in the middle
    median = (singular_values[(count - 1) // 2] + singular_values[count // 2]) / 2.0
    return float(omega * median)
