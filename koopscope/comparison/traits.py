"""What is compared of one part of a network: the course of its motion, and the law it follows.

Everything comes from distances and angles between the snapshots of one run, so that no rotation of
weight space changes it: neither does a permutation of hidden units, nor, where it is the same for
all of a layer, a rescaling. Never sees the weights of another run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Complex128, Float64
from koopscope.spectra.geometry import Geometry, course
from koopscope.spectra.gram import Products, SnapshotGram
from koopscope.spectra.heldout import held_out_rank
from koopscope.spectra.reduction import reduce
from koopscope.spectra.series import Series

#: The statistics of ``koopscope.spectra.geometry.course`` that are compared, and the length of the
#: weights. Speed, straightness and remaining way first: reports draw those.
COURSES = (
    "speed",
    "directness",
    "remaining",
    "directness_all",
    "recent_share",
    "half_share",
    "recent_directness",
    "turn",
    "speed_trend",
    "cosine",
    "cosine_far",
    "spread",
    "travel",
    "growth",
    "norm",
)

#: Directions of motion that an operator is compared in at most: for so many every start of the
#: search for the best rotation can be tried.
MOST_DIRECTIONS = 5

#: The first snapshots, whose causal statistics rest on one to three increments, are left out.
SKIPPED = 3

#: Logarithms stay within what a table can resolve.
_FLOOR = 1e-6


@dataclass(frozen=True)
class Traits:
    """One scope of one run at the K snapshots that are held against those of other runs.

    Attributes
    ----------
    name, size
        The scope, and its number of weights.
    courses
        float64 [len(COURSES), K].
    operator
        [r, r], the law of the increments in their r leading directions; a smaller rank's is its
        leading block.
    rank
        How many of them predict held-out increments best, at most r.
    moves
        Whether any weight moved at all.
    """

    name: str
    size: int
    courses: Float64
    operator: Products
    rank: int
    moves: bool

    def law(self, rank: int) -> Products:
        """Return [rank, rank], the operator in as many leading directions, as far as there are."""
        return self.operator[:rank, :rank]

    def eigenvalues(self, rank: int) -> Complex128:
        """Return complex128, the spectrum of ``law(rank)``."""
        values: Complex128 = np.linalg.eigvals(self.law(rank)).astype(np.complex128)
        return values


def traits(name: str, gram: SnapshotGram) -> Traits:
    """Describe a scope by the Gram matrix of its K snapshots, all of them finite."""
    geometry = Geometry(gram)
    found = course(geometry)
    norms = geometry.norms
    found["norm"] = np.log(np.maximum(norms, _FLOOR * max(float(norms.max()), _FLOOR)))
    found["remaining"] = _remaining(geometry)
    operator, rank = _law(gram)
    return Traits(
        name=name,
        size=gram.size,
        courses=np.array([found[each] for each in COURSES]),
        operator=operator,
        rank=rank,
        moves=bool(geometry.path[-1] > 0.0),
    )


def _remaining(geometry: Geometry) -> Float64:
    """Return [K]: distance still to go to the last snapshot over the whole way, 1 to 0."""
    T = geometry.gram.snapshots
    ahead = geometry.distance(np.arange(T), np.full(T, T - 1))
    whole = float(ahead.max(initial=0.0))
    return ahead / whole if whole > 0.0 else ahead


def _law(gram: SnapshotGram) -> tuple[Products, int]:
    """Return the operator of the increments in at most ``MOST_DIRECTIONS``, and its rank."""
    if gram.snapshots < 3 or not gram.speeds().any():
        return np.zeros((0, 0)), 0
    series = Series.of(gram.of_pairs(), "increments")
    reduction = reduce(series)
    available = min(MOST_DIRECTIONS, reduction.numerical_rank)
    return reduction.operator(available), max(1, min(held_out_rank(series), available))
