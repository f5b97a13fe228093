"""How the motions of two runs of one network lie to each other in weight space.

Needs the products of one run's snapshots with the other's, so it depends on which hidden unit is
which; where units were permuted it says nothing about the function. The numbers on linear mode
connectivity are proxies without data: they see weights, not the loss between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.comparison.traits import MOST_DIRECTIONS
from koopscope.spectra.gram import Products, SnapshotGram
from koopscope.spectra.rank import numerical_rank


@dataclass(frozen=True)
class Motions:
    """Angles and distances between two runs, of one scope.

    Attributes
    ----------
    angles_degrees
        float64 [r], principal angles between the leading directions of the two motions, ascending:
        0 where both move along the same line, 90 where nothing is shared.
    displacement_cosine
        Between the two ways from first to last snapshot; ``None`` where one did not move.
    final_distance
        Between the last weights, relative to the mean distance each has moved; ``None`` likewise.
    final_cosine
        Between the last weights themselves.
    midpoint_norm
        Proxy of linear mode connectivity without data: length of the mean of the last weights over
        the mean of their lengths. 1: the same direction; 0.71: orthogonal, and the network half way
        has lost half of its variance.
    """

    angles_degrees: Float64
    displacement_cosine: float | None
    final_distance: float | None
    final_cosine: float | None
    midpoint_norm: float | None


def motions(joint: SnapshotGram, before: int, ends: tuple[int, int], rank: int) -> Motions:
    """Compare two motions by their joint inner products.

    Parameters
    ----------
    joint
        Of the first run's snapshots, followed by the second's.
    before
        Snapshots of the first run.
    ends
        The last snapshots to look at: of the first run, and of the second, counted in its own.
    rank
        Directions of each motion.
    """
    first, second = slice(0, ends[0]), slice(before, before + ends[1])
    G = joint.of_pairs().increments
    angles = _angles(G, first, second, min(rank, MOST_DIRECTIONS))
    ways = [np.zeros(len(G)) for _ in range(2)]
    ways[0][first], ways[1][second] = 1.0, 1.0
    lengths = [_length(G, way) for way in ways]
    moved = (lengths[0] + lengths[1]) / 2.0
    # From the first run's end to the second's: back along the first, over, and along the second.
    between = np.zeros(len(G))
    between[ends[0] : before + ends[1]] = 1.0
    apart = _length(G, between)
    squares, product = _ends(joint, ends[0], before + ends[1])
    norms = np.sqrt(np.maximum(squares, 0.0))
    known = bool((norms > 0.0).all())
    middle = np.sqrt(max(float(squares.sum()) + 2.0 * product, 0.0)) / 2.0
    return Motions(
        angles_degrees=angles,
        displacement_cosine=(
            float(np.clip(ways[0] @ G @ ways[1] / (lengths[0] * lengths[1]), -1.0, 1.0))
            if min(lengths) > 0.0
            else None
        ),
        final_distance=apart / moved if moved > 0.0 else None,
        final_cosine=float(np.clip(product / norms.prod(), -1.0, 1.0)) if known else None,
        midpoint_norm=float(middle / norms.mean()) if known else None,
    )


def _length(products: Products, way: Float64) -> float:
    return float(np.sqrt(max(float(way @ products @ way), 0.0)))


def _ends(joint: SnapshotGram, one: int, other: int) -> tuple[Float64, float]:
    """Return the squared lengths of two snapshots, and their product."""
    G, along = np.real(joint.increments), np.real(joint.anchor_increments)
    picks = np.zeros((2, len(G)))
    picks[0, :one], picks[1, :other] = 1.0, 1.0
    products = picks @ G @ picks.T
    to_anchor = picks @ along
    whole = joint.anchor_square + to_anchor[:, None] + to_anchor + products
    return np.diagonal(whole).copy(), float(whole[0, 1])


def _angles(G: Products, first: slice, second: slice, rank: int) -> Float64:
    bases = [_directions(G[part, part], rank) for part in (first, second)]
    count = min(each.shape[1] for each in bases)
    if not count:
        return np.zeros(0)
    cosines = np.linalg.svd(
        bases[0][:, :count].T @ G[first, second] @ bases[1][:, :count], compute_uv=False
    )
    found: Float64 = np.degrees(np.arccos(np.clip(cosines, 0.0, 1.0)))
    return found


def _directions(products: Products, rank: int) -> Float64:
    """Return [m, r]: combinations of increments that are orthonormal and lead the motion."""
    squares, vectors = np.linalg.eigh((products + products.T) / 2.0)
    values = np.sqrt(np.maximum(squares[::-1], 0.0))
    kept = min(rank, numerical_rank(values))
    found: Float64 = vectors[:, ::-1][:, :kept] / values[:kept]
    return found
