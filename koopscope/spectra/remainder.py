"""Predict how far the weights would still go if the law of their recent increments went on.

Every decaying mode of the increments adds up to a finite distance; the interval comes from fitting
the law again to resampled pairs. Takes arrays and returns numbers; gives no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.gram import Products, SnapshotGram
from koopscope.spectra.rank import gram_resolution
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


def remaining_course(gram: SnapshotGram, window: int, rank: int, earliest: int) -> Float64:
    """Return the rest of the way predicted at every snapshot, from the last ``window`` ones.

    What ``remaining_displacement`` says of the spectrum of each window at this rank, all windows of
    full length at once.

    Parameters
    ----------
    gram
        T snapshots, all finite.
    window
        Snapshots a spectrum looks back on, at least 3.
    earliest
        The first snapshot at which one is asked for; the entries before are zero.

    Returns
    -------
    float64 [T], in the weights' own units.
    """
    T = gram.snapshots
    rests = np.zeros(T)
    for t in range(earliest, min(T, window - 1)):
        rests[t] = remaining_displacement(dmd(gram.window(0, t + 1), "increments", rank=rank))
    first = max(earliest, window - 1)
    if first < T:
        rests[first:] = _rests(_blocks(gram.increments, window - 1, first - window + 1), gram, rank)
    return rests


def _blocks(products: Products, length: int, first: int) -> Products:
    """Return [K, length, length]: the blocks along the diagonal from ``first`` on."""
    along = np.lib.stride_tricks.sliding_window_view(products, (length, length))
    every = np.arange(first, len(products) - length + 1)
    blocks: Products = along[every, every]
    return blocks


def _rests(blocks: Products, gram: SnapshotGram, rank: int) -> Float64:
    """Return the rest of the way that the increments of each block predict; as ``dmd`` does."""
    pairs = blocks.shape[1] - 1
    norms = np.sqrt(np.maximum(np.diagonal(blocks, axis1=1, axis2=2)[:, :pairs].real, 0.0))
    if gram.size <= pairs:
        norms = np.sqrt(np.square(norms).mean(axis=1, keepdims=True) + 0.0 * norms)
    scales = np.where(norms > 0.0, norms, 1.0)
    squares = blocks[:, :pairs, :pairs] / scales[:, :, None] / scales[:, None]
    values, right = np.linalg.eigh((squares + squares.conj().swapaxes(1, 2)) / 2.0)
    singular = np.sqrt(np.maximum(values[:, ::-1], 0.0))
    available = (singular > gram_resolution(pairs) * singular[:, :1]).sum(axis=1)
    ranks = np.where(singular[:, 0] > 0.0, np.minimum(rank, available), 0)
    rests = np.zeros(len(blocks))
    for r in np.unique(ranks[ranks > 0]):
        at = ranks == r
        basis = right[at][:, :, ::-1][:, :, :r] / singular[at, None, :r] / scales[at, :, None]
        rests[at] = _lengths_ahead(basis, blocks[at])
    return rests


def _lengths_ahead(basis: Products, blocks: Products) -> Float64:
    pairs, rank = basis.shape[1:]
    coordinates = basis.conj().swapaxes(1, 2) @ blocks[:, :pairs]
    eigenvalues, vectors = np.linalg.eig(coordinates[:, :, 1:] @ basis)
    slowed = bounded(eigenvalues.astype(complex))
    inverse = np.linalg.pinv(vectors.astype(complex), rcond=rank * np.finfo(float).eps)
    last: npt.NDArray[np.complex128] = (inverse @ coordinates[:, :, -1:])[..., 0]
    limits = vectors @ geometric_sum(last * slowed, slowed)[..., None]
    lengths: Float64 = np.linalg.norm(limits[..., 0], axis=-1)
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
