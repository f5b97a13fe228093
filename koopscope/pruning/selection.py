"""The k-th largest of a stream of scores, exactly, without holding or sorting the stream.

Non-negative floats order like their bit patterns, so a histogram over the leading bits finds the
narrow range in which the threshold lies, and a second look at that range alone finds it exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError

#: A stream that can be started again: each call walks over all scores in the same order.
Scores = Callable[[], Iterator[Float64]]

#: Leading bits that one pass tells apart: a table of 1 MiB.
_BITS = 17
_TABLE = 1 << _BITS

#: Scores of one narrow range that may be held at once (16 MiB).
_HELD = 1 << 21


@dataclass(frozen=True)
class Threshold:
    """Keep what scores more than ``value``, and the first ``ties`` of those that equal it."""

    value: float
    ties: int

    def keep(self, scores: Float64, ties_used: int) -> tuple[npt.NDArray[np.bool_], int]:
        """Return bool [n], what of a block stays, and how many ties have been used after it."""
        mask = scores > self.value
        equal = np.flatnonzero(scores == self.value)[: self.ties - ties_used]
        mask[equal] = True
        return mask, ties_used + len(equal)


def largest(scores: Scores, keep: int, total: int) -> Threshold:
    """Return the threshold that keeps exactly ``keep`` of ``total`` non-negative scores.

    Raises
    ------
    KoopscopeError
        If ``keep`` is not between 0 and ``total``.
    """
    if not 0 <= keep <= total:
        raise KoopscopeError(
            f"{keep} of {total} weights cannot be kept", "use a sparsity in (0, 1)"
        )
    if keep == 0:
        return Threshold(np.inf, 0)
    low, high, shift, wanted = 0, 1 << 64, 64, keep
    while True:
        shift = max(0, shift - _BITS)
        counts = np.zeros(_TABLE, np.int64)
        for bits in _inside(scores, low, high):
            slots = (bits - np.uint64(low)) >> np.uint64(shift)
            counts += np.bincount(slots.astype(np.int64), minlength=_TABLE)
        from_top = np.cumsum(counts[::-1])
        slot = int(np.searchsorted(from_top, wanted))
        above = int(from_top[slot - 1]) if slot else 0
        bucket = _TABLE - 1 - slot
        low, high, wanted = low + (bucket << shift), low + ((bucket + 1) << shift), wanted - above
        if shift == 0:
            return Threshold(float(np.uint64(low).view(np.float64)), wanted)
        if counts[bucket] <= _HELD:
            held = np.sort(np.concatenate(list(_inside(scores, low, high))))[::-1]
            value = held[wanted - 1]
            above_it = int(np.count_nonzero(held > value))
            return Threshold(float(value.view(np.float64)), wanted - above_it)


def _inside(scores: Scores, low: int, high: int) -> Iterator[npt.NDArray[np.uint64]]:
    for block in scores():
        bits = np.abs(block).view(np.uint64)  # abs: minus zero is zero
        yield bits if high - low >= 1 << 64 else bits[(bits >= low) & (bits < high)]
