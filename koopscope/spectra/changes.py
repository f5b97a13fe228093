"""Counts of entries that did not change, or changed alike: what the inner products do not tell.

They are no part of a spectrum; they say how coarsely the weights are stored, and what cannot train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Snapshots as they come, real or complex, of any precision.
Values = npt.NDArray[Any]

#: Columns of a block on which "did this entry change at all" is counted. The fraction is wanted
#: to two digits, so a part of each block is enough, and the pass stays bound by the product.
COMPARED_COLUMNS = 4096

#: Snapshots at the start of a run in which symmetric units show.
_EARLY = 8

#: Columns among which they are looked for: looking takes a sort.
_TWIN_COLUMNS = 1024

#: Odd multipliers of a 64-bit hash over those that are compared, imaginary parts last.
_HASH = np.array(
    [
        *(0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93),
        *(0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3),
    ],
    np.uint64,
)


@dataclass(frozen=True)
class ChangeCounts:
    """How many of one scope's entries stood still from snapshot to snapshot, or moved alike.

    Attributes
    ----------
    unchanged, still, compared
        int64 [T-1] and counts: of ``compared`` entries looked at, how many did not change from one
        snapshot to the next, and how many never changed in the whole run. Low-precision storage
        shows in the first, dead inputs and frozen layers in the second.
    twins
        Of up to 1024 entries of each block, how many are in four of the first eight snapshots what
        another one is, and move: the weights of symmetric units, which no training can tell apart.
    """

    unchanged: npt.NDArray[np.int64]
    still: int = 0
    compared: int = 0
    twins: int = 0

    @classmethod
    def none(cls, snapshots: int) -> ChangeCounts:
        """Return the counts of T snapshots of which no entry was looked at."""
        return cls(unchanged=np.zeros(max(0, snapshots - 1), np.int64))

    @classmethod
    def of(cls, values: Values) -> ChangeCounts:
        """Count in a block of shape (T, n), or in a part of its columns where it has many."""
        some = values[:, :COMPARED_COLUMNS]
        same = some[1:] == some[:-1]
        return cls(
            unchanged=np.count_nonzero(same, axis=1),
            still=int(np.count_nonzero(same.all(axis=0))),
            compared=some.shape[1],
            twins=_twins(some[:_EARLY, :_TWIN_COLUMNS]),
        )

    def __add__(self, other: ChangeCounts) -> ChangeCounts:
        """Join the counts of two disjoint sets of weights."""
        return ChangeCounts(
            unchanged=self.unchanged + other.unchanged,
            still=self.still + other.still,
            compared=self.compared + other.compared,
            twins=self.twins + other.twins,
        )


def _twins(values: Values) -> int:
    """Count the columns that move and are in four of these snapshots what another column is."""
    picked = values[np.unique([0, 1, 2, len(values) - 1]) % len(values)]
    moving = picked[:, (picked != picked[0]).any(axis=0)]
    parts = [moving.real, moving.imag] if np.iscomplexobj(moving) else [moving]
    moving = np.concatenate(parts).astype(np.float64)
    words = moving.view(np.uint64)
    # A product keeps a flipped sign in its highest bit, where two flips cancel: mix it in first.
    words = words ^ (words >> np.uint64(31))
    keys = (words * _HASH[: len(moving), None]).sum(axis=0, dtype=np.uint64)
    keys.sort()
    same = keys[1:] == keys[:-1]
    return int(np.count_nonzero(np.append(same, False) | np.append(False, same)))
