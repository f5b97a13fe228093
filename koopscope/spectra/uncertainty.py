"""Intervals of eigenvalues under the noise of training, by the moving-block bootstrap.

Minibatch noise enters the dynamics itself (process noise), so pairs (y_t, y_{t+1}) are what is
resampled: in blocks of neighbours, with replacement, in the r reduced coordinates, all replicates
at once (Kunsch 1989; Efron and Tibshirani 1993, ch. 8). Says nothing about what the truncation left
out. Works on reduced coordinates; reads no weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Products
from koopscope.spectra.matching import conjugates, matched

LEVEL = 0.9
REPLICATES = 300

#: Far below the data; see ``resampled_operators``.
FLOOR = 1e-12

#: 0.95 quantile of the normal distribution, for a two-sided interval of level 0.9.
_NORMAL_QUANTILE = 1.6448536269514722


@dataclass(frozen=True)
class Uncertainty:
    """Intervals of a spectrum's eigenvalues, in the spectrum's order.

    Attributes
    ----------
    level
        Nominal coverage of each interval; see docs/evidence/numerics.md for the measured one.
    magnitude_low, magnitude_high
        float64 [r], the interval of |lambda|: the estimate and a normal multiple of its bootstrap
        standard error to either side, not below zero. NaN where the snapshots do not suffice.
    covariance
        float64 [r, 2, 2], of (Re lambda, Im lambda) over the replicates; that of a conjugate is the
        mirror image.
    replicates, block
        How many times, and how many neighbouring pairs at a time, were drawn.
    """

    level: float
    magnitude_low: Float64
    magnitude_high: Float64
    covariance: Float64
    replicates: int
    block: int


def uncertainty(spectrum: Spectrum, replicates: int = REPLICATES, seed: int = 0) -> Uncertainty:
    """Return intervals for the eigenvalues of a spectrum.

    Parameters
    ----------
    spectrum
        Of any observable; m pairs at rank r.
    replicates, seed
        The same seed gives the same numbers.
    """
    rank, pairs = spectrum.rank, spectrum.pairs
    block = max(1, round(pairs ** (1.0 / 3.0)))
    if rank == 0 or pairs <= rank + block:
        unknown = np.full(rank, np.nan)
        return Uncertainty(LEVEL, unknown, unknown, np.full((rank, 2, 2), np.nan), 0, block)
    counts = block_counts(pairs, block, replicates, np.random.default_rng(seed))
    operators = resampled_operators(spectrum, counts)
    replicas = matched(np.linalg.eigvals(operators).astype(complex), spectrum.eigenvalues)
    # A replicate may have two real eigenvalues in place of a pair, and either may go to either
    # member: every replicate counts once more with its mirror image, so that regions are mirrored.
    if np.isrealobj(spectrum.operator):
        replicas = np.concatenate([replicas, replicas[:, conjugates(spectrum.eigenvalues)].conj()])
    if spectrum.resting is not None:
        replicas[:, spectrum.resting] = 1.0  # by construction, but for the floor under replicates
    reach = _NORMAL_QUANTILE * np.abs(replicas).std(axis=0)
    off = np.stack([replicas.real, replicas.imag], axis=-1)
    off -= off.mean(axis=0)
    return Uncertainty(
        LEVEL,
        np.maximum(spectrum.magnitudes - reach, 0.0),
        spectrum.magnitudes + reach,
        np.einsum("bji,bjk->jik", off, off) / len(replicas),
        replicates,
        block,
    )


def block_counts(
    pairs: int, block: int, replicates: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return [replicates, pairs]: how often each replicate draws each pair."""
    starts = rng.integers(0, pairs - block + 1, (replicates, -(-pairs // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(replicates, -1)[:, :pairs]
    flat = (drawn + pairs * np.arange(replicates)[:, None]).ravel()
    return np.bincount(flat, minlength=replicates * pairs).reshape(replicates, pairs).astype(float)


def resampled_operators(
    spectrum: Spectrum, counts: npt.NDArray[np.float64], floor: float = FLOOR
) -> Products:
    """Return [replicates, r, r]: the reduced operator fitted to each replicate's pairs.

    In reduced coordinates K = (sum_t Y_t X_t^*) (sum_t X_t X_t^*)^-1 with unit-norm columns; the
    sums over drawn pairs are one product with the counts. A replicate may miss a direction
    altogether, or all motion there was: ``floor`` times the trace of the products keeps it
    solvable.
    """
    rank = spectrum.rank
    X = (spectrum.trajectory[:, :-1] / spectrum.scales).T
    Y = (spectrum.trajectory[:, 1:] / spectrum.scales).T
    C = X.conj()
    XX = (counts @ (C[:, :, None] * X[:, None, :]).reshape(len(X), -1)).reshape(-1, rank, rank)
    XY = (counts @ (C[:, :, None] * Y[:, None, :]).reshape(len(X), -1)).reshape(-1, rank, rank)
    traces = np.trace(XX, axis1=1, axis2=2).real
    ridge = floor * np.where(traces > 0.0, traces, 1.0)[:, None, None] * np.eye(rank)
    operators: Products = np.linalg.solve(XX + ridge, XY).swapaxes(1, 2)
    return operators
