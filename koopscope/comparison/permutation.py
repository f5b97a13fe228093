"""Do two groups of runs differ by more than runs of one group do? Labels are permuted, exactly.

Where recipe and label have nothing to do with each other, every assignment of the labels was as
likely as the one that was made; the p-value is the share of assignments that separate the groups at
least as much. The shuffle of single eigenvalues in Redman et al. (arXiv 2302.09160) is another
thing: it cannot exceed the true distance, so it never rejects.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64

#: Who belongs to a group.
Members = npt.NDArray[np.bool_]

#: Up to so many assignments all are tried; beyond, so many random ones.
MOST_ASSIGNMENTS = 20_000

#: Assignments whose statistics differ by rounding alone are equal.
_SAME = 1e-9


@dataclass(frozen=True)
class PermutationTest:
    """What came of permuting the labels of two groups.

    Attributes
    ----------
    contrast
        Mean distance between the groups less the mean of those within each.
    p_value
        Share of the assignments with at least this contrast, the true one included.
    smallest
        The smallest p-value that groups of these sizes can give. Groups of one size can swap their
        labels without a change of the contrast, so for three a side it is 0.1.
    assignments
        How many were tried.
    is_exact
        Whether those are all there are.
    """

    contrast: float
    p_value: float
    smallest: float
    assignments: int
    is_exact: bool


def contrast(distances: Float64, first: Members) -> float:
    """Return the mean distance between two groups less the mean of the means within each.

    Parameters
    ----------
    distances
        float64 [n, n], symmetric with a zero diagonal.
    first
        bool [n], who belongs to the first group; at least two in each.
    """
    return float(_contrasts(distances, first[None, :])[0])


def _contrasts(distances: Float64, first: Members) -> Float64:
    """Return float64 [assignments], the contrasts of many assignments bool [assignments, n]."""
    one = first.astype(float)
    other = 1.0 - one
    a, b = one.sum(axis=1), other.sum(axis=1)
    sums, others = one @ distances, other @ distances
    between = np.sum(sums * other, axis=1) / (a * b)
    within_one = np.sum(sums * one, axis=1) / (a * (a - 1.0))
    within_other = np.sum(others * other, axis=1) / (b * (b - 1.0))
    found: Float64 = between - (within_one + within_other) / 2.0
    return found


def permutation_test(distances: Float64, size: int, seed: int = 0) -> PermutationTest:
    """Test whether the first ``size`` runs and the others differ.

    Parameters
    ----------
    distances
        float64 [n, n], symmetric with a zero diagonal.
    size
        Of the first group; both have at least two.
    seed
        Of the random assignments, where there are too many to try all.
    """
    count = len(distances)
    true = np.arange(count) < size
    found = contrast(distances, true)
    total = comb(count, size)
    symmetric = 2 * size == count
    smallest = (2.0 if symmetric else 1.0) / total
    if total <= MOST_ASSIGNMENTS:
        chosen = np.array(list(combinations(range(count), size)))
        assigned = np.zeros((total, count), np.bool_)
        assigned[np.arange(total)[:, None], chosen] = True
        values = _contrasts(distances, assigned)
        tried = total
    else:
        rng = np.random.default_rng(seed)
        drawn = rng.permuted(np.tile(true, (MOST_ASSIGNMENTS - 1, 1)), axis=1)
        values = np.append(_contrasts(distances, drawn), found)
        tried, smallest = MOST_ASSIGNMENTS, max(smallest, 1.0 / MOST_ASSIGNMENTS)
    as_far = values >= found - _SAME * max(1.0, abs(found))
    return PermutationTest(
        contrast=found,
        p_value=float(as_far.mean()),
        smallest=smallest,
        assignments=tried,
        is_exact=total <= MOST_ASSIGNMENTS,
    )
