"""Turn a Gram matrix into a fixed number of 8-byte words and back, to store or to send it.

The increments' matrix is symmetric, so its upper triangle is kept: T^2 / 2 + 4 T words or so. The
units' moments come last, six words each. All words add up where weights are joined.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.units import MOMENTS, UnitMoments

_COUNTS = 4  # size, still, compared, twins

#: Rows of the upper triangle that are mirrored into the lower one at once.
_MIRRORED = 128

#: Up to so many increments a table says where each product lies; beyond, it would be large itself.
_TABLED = 256


def record_words(snapshots: int, units: int = 0) -> int:
    """Return how many 8-byte words the Gram matrix of T snapshots and the moments of units take."""
    moves = max(0, snapshots - 1)
    products = moves * (moves + 1) // 2 + moves + 1
    return products + _COUNTS + moves + snapshots + MOMENTS * units


def words_of(gram: SnapshotGram) -> int:
    """Return how many words a Gram matrix takes."""
    units = gram.units.units if isinstance(gram.units, UnitMoments) else 0
    return record_words(gram.snapshots, units)


def pack(gram: SnapshotGram) -> Float64:
    """Return float64 [``record_words(T)``]; counts below 2^53 are exact in it."""
    moves, changes = gram.snapshots - 1, gram.changes
    words = np.empty(words_of(gram))
    filled = 0
    for t in range(moves):
        words[filled : filled + moves - t] = gram.increments[t, t:]
        filled += moves - t
    words[filled:] = np.concatenate(
        [
            gram.anchor_increments,
            [gram.anchor_square, gram.size, changes.still, changes.compared, changes.twins],
            changes.unchanged,
            gram.nonfinite,
            *([gram.units.values.ravel()] if isinstance(gram.units, UnitMoments) else []),
        ]
    )
    return words


def unpack(words: Float64, snapshots: int) -> SnapshotGram:
    """Return the Gram matrix that ``pack`` turned into these words."""
    moves = snapshots - 1
    increments = words[_places(moves)] if moves <= _TABLED else _mirrored(words, moves)
    rest = words[count_words(snapshots) :]
    anchored = words[moves * (moves + 1) // 2 :]
    nonfinite, changes = unpack_counts(rest, snapshots)
    units = rest[_COUNTS + moves + snapshots :]
    return SnapshotGram(
        increments=increments,
        anchor_increments=anchored[:moves].copy(),
        anchor_square=float(anchored[moves]),
        size=int(rest[0]),
        changes=changes,
        nonfinite=nonfinite,
        units=_units(units),
    )


def count_words(snapshots: int) -> int:
    """Return how many words come before the counts."""
    moves = max(0, snapshots - 1)
    return moves * (moves + 1) // 2 + moves + 1


def unpack_counts(words: Float64, snapshots: int) -> tuple[npt.NDArray[np.int64], ChangeCounts]:
    """Return the non-finite entries of each snapshot and the changes, from the words of counts."""
    _, still, compared, twins = (int(word) for word in words[:_COUNTS])
    unchanged, nonfinite = np.split(
        _counts(words[_COUNTS : _COUNTS + 2 * snapshots - 1]), [snapshots - 1]
    )
    return nonfinite, ChangeCounts(still=still, compared=compared, twins=twins, unchanged=unchanged)


@cache
def _places(moves: int) -> npt.NDArray[np.intp]:
    """Return [moves, moves]: which word is the product of two increments."""
    row, column = np.indices((moves, moves))
    low, high = np.minimum(row, column), np.maximum(row, column)
    places: npt.NDArray[np.intp] = low * moves - low * (low - 1) // 2 + high - low
    return places


def _mirrored(words: Float64, moves: int) -> Float64:
    increments = np.empty((moves, moves))
    read = 0
    for first in range(0, moves, _MIRRORED):
        stop = min(first + _MIRRORED, moves)
        for t in range(first, stop):
            increments[t, t:] = words[read : read + moves - t]
            increments[t:stop, t] = increments[t, t:stop]
            read += moves - t
        # Columns of a large matrix lie far apart: many are written at once.
        increments[stop:, first:stop] = increments[first:stop, stop:].T
    return increments


def _units(words: Float64) -> UnitMoments | None:
    return UnitMoments(words.reshape(2, 3, -1).copy()) if len(words) else None


def _counts(words: Float64) -> npt.NDArray[np.int64]:
    return words.astype(np.int64)
