"""Join and pick snapshots of Gram matrices along time, without reading a weight again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from koopscope.spectra.gram import SnapshotGram


def extended(known: SnapshotGram, rest: SnapshotGram, tolerance: float) -> SnapshotGram | None:
    """Join what was known of the first snapshots with what was computed since.

    Parameters
    ----------
    known
        Of the first T0 of the T snapshots, all of them finite.
    rest
        Accumulated over all T snapshots with ``since`` = T0 - 2: the last known increment is
        computed again, and so are the first snapshot's products.
    tolerance
        By how much, relative to the lengths of the two vectors, a product computed twice may
        differ.

    Returns
    -------
    ``None`` where the two do not agree: the first T0 snapshots are not what they were.
    """
    kept = known.snapshots - 1
    scale = np.sqrt(np.maximum(np.diagonal(known.increments).real, 0.0))
    again = rest.increments[kept - 1, :kept]
    agrees = (
        known.size == rest.size
        and not rest.nonfinite.any()
        and np.allclose(known.anchor_square, rest.anchor_square, rtol=tolerance, atol=0.0)
        and (
            np.abs(rest.anchor_increments[:kept] - known.anchor_increments)
            <= tolerance * scale * np.sqrt(known.anchor_square)
        ).all()
        and (np.abs(again - known.increments[-1]) <= tolerance * scale * scale[-1]).all()
    )
    if not agrees:
        return None
    increments = rest.increments.copy()
    increments[:kept, :kept] = known.increments
    # A product of two different matrices is symmetric to rounding only.
    return replace(rest, increments=(increments + increments.conj().T) / 2.0)


def held(gram: SnapshotGram, before: int, snapshots: int) -> SnapshotGram:
    """Return the same motion inside a longer run that stands still before and after it.

    ``window(before, before + gram.snapshots)`` of the result is the matrix that was given.
    """
    inside = slice(before, before + gram.snapshots - 1)
    increments = np.zeros((snapshots - 1, snapshots - 1), gram.increments.dtype)
    increments[inside, inside] = gram.increments
    anchor_increments = np.zeros(snapshots - 1, gram.increments.dtype)
    anchor_increments[inside] = gram.anchor_increments
    unchanged = np.full(snapshots - 1, gram.changes.compared, np.int64)
    unchanged[inside] = gram.changes.unchanged
    nonfinite = np.zeros(snapshots, np.int64)
    nonfinite[before : before + gram.snapshots] = gram.nonfinite
    return replace(
        gram,
        increments=increments,
        anchor_increments=anchor_increments,
        changes=replace(gram.changes, unchanged=unchanged),
        nonfinite=nonfinite,
    )


def picked(gram: SnapshotGram, indices: npt.NDArray[np.intp]) -> SnapshotGram:
    """Return the inner products of some of the snapshots, as if no other had been recorded.

    Of entries that did not change over several intervals only an upper bound is known: the fewest
    that did not change over one of them.

    Parameters
    ----------
    indices
        Increasing, at least one.
    """
    first, last = int(indices[0]), int(indices[-1])
    inside = gram.window(first, last + 1)
    if len(indices) == last + 1 - first:
        return inside
    borders = indices - first
    sums = np.zeros((len(indices) - 1, max(0, last - first)))
    unchanged = np.zeros(len(sums), np.int64)
    for k, (start, stop) in enumerate(pairwise(borders.tolist())):
        sums[k, start:stop] = 1.0
        unchanged[k] = inside.changes.unchanged[start:stop].min()
    return replace(
        inside,
        increments=sums @ inside.increments @ sums.T,
        anchor_increments=sums @ inside.anchor_increments,
        nonfinite=inside.nonfinite[borders],
        changes=replace(inside.changes, unchanged=unchanged),
    )
