"""How far the weights would still go, if the law of their recent increments went on.

A decaying mode of the increments sums to a finite rest of the way; the interval comes from fitting
the law again to resampled pairs. Arrays in, numbers out; gives no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Complex128, Float64
from koopscope.spectra.dmd import Spectrum

#: Slower modes are taken to be this slow: a straight drift has no finite rest.
SLOWEST = 0.995

#: Pairs that are drawn together, because neighbouring increments share their noise.
BLOCK = 4


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
    last = spectrum.trajectory[:, -1].astype(complex)
    solved = np.linalg.lstsq(spectrum.eigenvectors, last, rcond=None)[0]
    coordinates = np.asarray(solved, np.complex128)
    rest = _rest(spectrum.eigenvalues[None], spectrum.eigenvectors[None], coordinates[None])
    return float(rest[0])


def _rest(eigenvalues: Complex128, vectors: Complex128, coordinates: Complex128) -> Float64:
    """Return |sum_j q_j b_j lambda_j / (1 - lambda_j)| for a stack of operators."""
    magnitudes = np.maximum(np.abs(eigenvalues), np.finfo(float).tiny)
    bounded = eigenvalues * np.minimum(1.0, SLOWEST / magnitudes)
    scaled = (coordinates * bounded / (1.0 - bounded))[..., None]
    lengths: Float64 = np.linalg.norm((vectors @ scaled)[..., 0], axis=-1)
    return lengths


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
    columns = spectrum.trajectory[:, :-1] / spectrum.scales
    images = spectrum.trajectory[:, 1:] / spectrum.scales
    starts = np.random.default_rng(seed).integers(
        0, pairs - BLOCK + 1, (replicates, -(-pairs // BLOCK))
    )
    drawn = (starts[:, :, None] + np.arange(BLOCK)).reshape(replicates, -1)[:, :pairs]
    X = columns[:, drawn].transpose(1, 0, 2)
    Y = images[:, drawn].transpose(1, 0, 2)
    gram = X @ X.transpose(0, 2, 1)
    # A resample may miss a direction altogether, or all motion there was.
    traces = np.trace(gram, axis1=1, axis2=2)
    ridge = 1e-9 * np.where(traces > 0.0, traces, 1.0)[:, None, None] * np.eye(rank)
    operators = np.linalg.solve(gram + ridge, X @ Y.transpose(0, 2, 1)).transpose(0, 2, 1)
    eigenvalues, vectors = np.linalg.eig(operators)
    last = np.broadcast_to(spectrum.trajectory[:, -1].astype(complex), (replicates, rank))
    try:
        coordinates = np.linalg.solve(vectors.astype(complex), last[..., None])[..., 0]
    except np.linalg.LinAlgError:  # a resample without a full set of eigenvectors
        return Remainder(distance, distance, distance)
    rests = _rest(eigenvalues.astype(complex), vectors.astype(complex), coordinates)
    low, high = np.quantile(rests, [0.1, 0.9])
    return Remainder(distance, min(float(low), distance), max(float(high), distance))
