"""The first step of a sketch in NumPy: stretches times signs, turned, and added to cells.

Reads every weight once, in the dtype it has, stretch by stretch; what the step holds does not grow
with the tensor. Norm, largest entry and what is not finite come from the same stretch while it is
in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.runs.dtypes import widen_bfloat16
from koopscope.runs.sketching.pattern import CELLS, TensorPattern

Values = npt.NDArray[Any]

#: Stretches added up in float32 before float64 takes over: rounding stays near that of storage.
_TOGETHER = 8

#: Larger magnitudes overflow when squared and summed, as ``koopscope.spectra.accumulating`` has it.
LARGEST = 1e145


@dataclass(frozen=True)
class Sums:
    """What one read of a tensor, or of a part of it, gives.

    Attributes
    ----------
    cells
        float64, one per cell; zeros where the tensor has an entry that is not finite.
    square, largest
        Squared norm and largest magnitude of the finite entries.
    nonfinite
        How many entries are NaN, infinite or too large to square.
    """

    cells: npt.NDArray[np.float64]
    square: float
    largest: float
    nonfinite: int


#: Neighbouring weights inside one stretch: where they begin in the part and in the stretch, how
#: many they are, and the stretch's offset, turn and sign. Plain tuples: there are thousands.
_Piece = tuple[int, int, int, int, int, float]


def sums_of(
    flat: Values,
    dtype: str,
    runs: Sequence[tuple[int, int, int]],
    own: TensorPattern,
    workers: int = 1,
) -> Sums:
    """Return the cells of a flattened part.

    Parameters
    ----------
    flat
        Its words; bfloat16 as uint16, complex numbers as pairs of floats.
    dtype
        ``bfloat16`` where the words are those.
    runs
        As ``runs_of`` yields them.
    own
        The tensor's pattern.
    workers
        Threads that share the work.
    """
    pieces = _pieces(runs, own)
    wide = flat.dtype == np.float64
    found = _added(flat, dtype, pieces, own, wide, workers)
    if not (math.isfinite(found.square) and math.isfinite(found.largest)) or not np.isfinite(
        found.cells.sum()
    ):
        bad = _nonfinite(flat, dtype)
        if bad:
            return Sums(np.zeros(own.cells), 0.0, 0.0, bad)
        # Finite numbers whose squares or sums leave float32.
        found = _added(flat, dtype, pieces, own, True, workers)
    if own.size <= CELLS:  # the cells are the weights, up to their signs
        return replace(found, square=float(found.cells @ found.cells))
    return found


def _pieces(runs: Sequence[tuple[int, int, int]], own: TensorPattern) -> list[_Piece]:
    pieces: list[_Piece] = []
    for begin, where, length in runs:
        first, last = where // CELLS, (where + length - 1) // CELLS
        borders = np.arange(first, last + 2) * CELLS
        low = np.maximum(borders[:-1], where)
        high = np.minimum(borders[1:], where + length)
        columns = (low - where + begin, low - borders[:-1], high - low)
        pieces += zip(
            *(column.tolist() for column in columns),
            *own.stretch_lists(first, last + 1),
            strict=True,
        )
    return pieces


def _added(
    flat: Values,
    dtype: str,
    pieces: Sequence[_Piece],
    own: TensorPattern,
    wide: bool,
    workers: int,
) -> Sums:
    each = -(-len(pieces) // max(1, workers))
    each = max(1, each + -each % _TOGETHER)  # the same sums whatever the number of workers
    shares = [pieces[first : first + each] for first in range(0, len(pieces), each)]

    def work(share: Sequence[_Piece]) -> Sums:
        with np.errstate(all="ignore"):
            return _worked(flat, dtype, share, own, wide)

    if len(shares) > 1:
        with ThreadPoolExecutor(len(shares), thread_name_prefix="koopscope-sketch") as pool:
            found = list(pool.map(work, shares))
    else:
        found = [work(share) for share in shares]
    cells = np.zeros(own.cells)
    with np.errstate(all="ignore"):
        for part in found:
            cells += part.cells
    return Sums(
        cells,
        sum(part.square for part in found),
        max((part.largest for part in found), default=0.0),
        0,
    )


def _worked(
    flat: Values, dtype: str, pieces: Sequence[_Piece], own: TensorPattern, wide: bool
) -> Sums:
    working = np.dtype(np.float64 if wide else np.float32)
    total = np.zeros(own.cells)
    some = np.zeros(own.cells, working)
    longest = max((piece[2] for piece in pieces), default=0)
    signed = np.empty(longest, working)
    numbers = np.empty(longest, working)
    signs = own.pattern.signs
    square, largest = 0.0, 0.0
    direct = dtype != "bfloat16" and flat.dtype == working
    for first in range(0, len(pieces), _TOGETHER):
        group = pieces[first : first + _TOGETHER]
        if direct:
            for begin, stop in _stretches(group):
                square, largest = _measured(flat[begin:stop], square, largest)
        for begin, inside, length, offset, turn, sign in group:
            values = flat[begin : begin + length]
            if not direct:
                values = _widened(values, dtype, numbers[:length])
                square, largest = _measured(values, square, largest)
            at = offset + inside
            product = np.multiply(values, signs[at : at + length], out=signed[:length])
            _turned(some, product, (inside + turn) % CELLS, sign)
        if math.isnan(square):
            break
        total += some
        some.fill(0.0)
    return Sums(total, square, largest, 0)


def _stretches(group: Sequence[_Piece]) -> list[tuple[int, int]]:
    """Return where the weights of neighbouring pieces begin and end, as few times as possible."""
    begins = [piece[0] for piece in group]
    ends = [piece[0] + piece[2] for piece in group]
    if begins[1:] == ends[:-1]:
        return [(begins[0], ends[-1])]
    return list(zip(begins, ends, strict=True))


def _measured(values: Values, square: float, largest: float) -> tuple[float, float]:
    """Return a squared norm and a largest magnitude with those of further values."""
    square += float(np.dot(values, values))
    return square, max(largest, float(np.max(values)), -float(np.min(values)))


def _widened(words: Values, dtype: str, out: Values) -> Values:
    """Return words as numbers of the dtype of ``out``."""
    if dtype == "bfloat16" and out.dtype == np.float32:
        return widen_bfloat16(words, out)
    out[...] = widen_bfloat16(words) if dtype == "bfloat16" else words
    return out


def _turned(cells: Values, product: Values, at: int, sign: float) -> None:
    """Add a signed piece to the cells from ``at`` on, going round at their end."""
    first = min(len(product), len(cells) - at)
    add = np.add if sign > 0.0 else np.subtract
    add(cells[at : at + first], product[:first], out=cells[at : at + first])
    if first < len(product):
        rest = len(product) - first
        add(cells[:rest], product[first:], out=cells[:rest])


def _nonfinite(flat: Values, dtype: str) -> int:
    count = 0
    for first in range(0, len(flat), CELLS):
        words = flat[first : first + CELLS]
        values = widen_bfloat16(words) if dtype == "bfloat16" else words
        bound = min(LARGEST, float(np.finfo(values.dtype).max))
        count += int(np.count_nonzero(~(np.abs(values) <= bound)))
    return count
