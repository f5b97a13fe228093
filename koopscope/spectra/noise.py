"""Filters along time that reject noise from a trajectory, applied to its inner products alone.

A filter F replaces every snapshot by a weighted mean of its neighbours. Where F slides along, each
mode lambda^t only changes its amplitude, never its eigenvalue, while the noise shrinks. A snapshot
whose neighbours are not all recorded is dropped. Nothing here reads a weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.gram import SnapshotGram

NoiseFilter = Literal["none", "sobolev"]

NOISE_FILTERS: tuple[NoiseFilter, ...] = ("none", "sobolev")

#: Snapshots over which the filter's weights fall by e, and neighbours on either side it reaches to.
#: Set by studies/sobolev/noise_filter.py.
LENGTH = 3.0
REACH = 8


def sobolev_kernel(length: float = LENGTH, reach: int = REACH) -> Float64:
    """Return float64 [2 reach + 1]: the weights of neighbours, symmetric, summing to 1.

    Minimising a residual in H^-2 along time, where frequency f (cycles per snapshot) weighs
    (1 + 4 pi^2 length^2 f^2)^-2, is minimising the mean square after (1 - length^2 d^2/dt^2)^-1,
    whose Green's function is exp(-|t| / length) / (2 length).
    """
    weights: Float64 = np.exp(-np.abs(np.arange(-reach, reach + 1)) / length)
    weights /= weights.sum()
    return weights


def lost_snapshots(noise_filter: NoiseFilter) -> int:
    """Return how many snapshots a filter costs."""
    return 2 * REACH if noise_filter == "sobolev" else 0


def filtered(gram: SnapshotGram, kernel: Float64) -> SnapshotGram:
    """Return the inner products of w~_t = sum_k kernel[k] w_{t + k}, where all neighbours exist.

    Counts of unchanged entries are no property of inner products: the unfiltered ones are kept.

    Raises
    ------
    KoopscopeError
        If there are fewer snapshots than weights in the kernel, or one is not finite.
    """
    lost = len(kernel) - 1
    kept = gram.snapshots - lost
    if kept < 1 or not gram.finite.all():
        raise KoopscopeError(
            f"{int(gram.finite.sum())} finite snapshots are too few for a noise filter "
            f"that takes {len(kernel)}",
            "leave --noise-filter out, or record more often",
        )
    F = filter_matrix(kernel, gram.snapshots - 1)
    # w~_0 = w_0 + sum_j ahead[j] d_j: increment j lies before every neighbour beyond it.
    ahead = np.zeros(gram.snapshots - 1)
    ahead[:lost] = kernel[::-1].cumsum()[::-1][1:]
    along = gram.increments @ ahead
    return replace(
        gram,
        increments=F @ gram.increments @ F.T,
        anchor_increments=F @ (gram.anchor_increments + along.conj()),
        anchor_square=gram.anchor_square
        + 2.0 * float((ahead @ gram.anchor_increments).real)
        + float((ahead @ along).real),
        changes=replace(gram.changes, unchanged=gram.changes.unchanged[: kept - 1]),
        nonfinite=gram.nonfinite[:kept],
    )


def filter_matrix(kernel: Float64, length: int) -> Float64:
    """Return [length - len(kernel) + 1, length], the matrix of a sliding weighted mean."""
    rows = max(0, length - len(kernel) + 1)
    matrix = np.zeros((rows, length))
    for k, weight in enumerate(kernel):
        matrix[np.arange(rows), np.arange(rows) + k] = weight
    return matrix
