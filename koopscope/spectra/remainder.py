"""Predict how far the weights would still go if the law of their recent increments went on.

Every decaying mode of the increments adds up to a finite distance; the interval comes from fitting
the law again to resampled pairs. Takes arrays and returns numbers; gives no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.still_to_come import bounded, geometric_sum, limit_of_modes
from koopscope.spectra.uncertainty import block_counts, resampled_operators

#: Pairs that are drawn together, because neighbouring increments share their noise.
BLOCK = 4

#: Added to a resample's products, in parts of their trace: an eigenvector that almost is another
#: would send the last increment anywhere.
FLOOR = 1e-9


@dataclass(frozen=True)
class Remainder:
    """Predicted distance from the last snapshot to where the increments run out.

    Attributes
    ----------
    distance
        In the weights' own units.
    low, high
        The middle 80% of the resampled predictions.
    """

    distance: float
    low: float
    high: float


def remaining_displacement(spectrum: Spectrum) -> float:
    """Return the rest of the way that a spectrum of the increments predicts.

    The modes beyond the window sum to b_j lambda_j / (1 - lambda_j) each, starting from the last
    increment's own coordinates; orthonormal directions turn that into a length.
    """
    if spectrum.rank == 0:
        return 0.0
    return float(np.linalg.norm(spectrum.eigenvectors @ limit_of_modes(spectrum)))


def remainder(spectrum: Spectrum, replicates: int = 200, seed: int = 0) -> Remainder:
    """Return the predicted rest of the way with its interval.

    Moving-block bootstrap over pairs of increments in the r reduced coordinates: the operator is
    fitted again to each resample and started from the same last increment. Same input, same seed,
    same interval. With fewer than ``2 BLOCK`` pairs there is nothing to resample and the interval
    is the prediction itself.
    """
    distance = remaining_displacement(spectrum)
    pairs, rank = spectrum.pairs, spectrum.rank
    if rank == 0 or pairs < 2 * BLOCK:
        return Remainder(distance, distance, distance)
    counts = block_counts(pairs, BLOCK, replicates, np.random.default_rng(seed))
    eigenvalues, vectors = np.linalg.eig(resampled_operators(spectrum, counts, FLOOR))
    last = np.broadcast_to(spectrum.trajectory[:, -1].astype(complex), (replicates, rank))
    try:
        coordinates = np.linalg.solve(vectors.astype(complex), last[..., None])[..., 0]
    except np.linalg.LinAlgError:  # a resample without a full set of eigenvectors
        return Remainder(distance, distance, distance)
    slowed = bounded(eigenvalues.astype(complex))
    limits = vectors @ geometric_sum(coordinates * slowed, slowed)[..., None]
    rests = np.linalg.norm(limits[..., 0], axis=-1)
    low, high = np.quantile(rests, [0.1, 0.9])
    return Remainder(distance, min(float(low), distance), max(float(high), distance))
