"""Exact facts of a tensor's snapshots, from its cells and a sample of its entries.

Kept from one snapshot to the next: the cells of the first one, of the last one and of the last
change, and the sample. A tensor of no more weights than it has cells is known exactly by them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.runs.sketches import FACTS
from koopscope.runs.sketching.projection import Sums

#: Entries of the sample: as many as a full recording is compared by, of each block.
SAMPLE = 4096

#: Columns of the rows that are sampled where a tensor is larger than that.
_SAMPLE_COLUMNS = 64

#: Snapshots at the start in which symmetric units show, and entries among which they are sought.
_EARLY = 8
_TWINS_AMONG = 1024

Cells = npt.NDArray[Any]


def sampled_places(shape: tuple[int, ...]) -> tuple[slice | npt.NDArray[np.intp], int, int]:
    """Return which entries of a flattened tensor are sampled, as rows and columns of a table.

    Returns
    -------
    The indices into the flattened tensor, and the table's shape. All of a tensor of up to 4096
    entries; else the leading entries of rows that lie evenly.
    """
    size = math.prod(shape)
    rows = shape[0] if shape else 1
    columns = size // max(1, rows)
    if size <= SAMPLE:
        return slice(0, size), rows, columns
    width = min(columns, _SAMPLE_COLUMNS)
    height = min(rows, SAMPLE // width)
    chosen = np.arange(height) * rows // height
    return (chosen[:, None] * columns + np.arange(width)).ravel(), height, width


def folded(cells: Float64, room: int, dtype: npt.DTypeLike) -> Cells:
    """Return the cells, added up to at most ``room`` of them: a coarser sketch."""
    if len(cells) > room:
        padded = np.zeros(-(-len(cells) // room) * room)
        padded[: len(cells)] = cells
        cells = padded.reshape(-1, room).sum(axis=0)
    return cells.astype(dtype)


class Remembered:
    """What is remembered of one tensor between snapshots.

    Parameters
    ----------
    room
        Cells that are kept.
    exact_dtype
        Of the cells: float64 where the tensor is.
    rows
        Rows of the sample's table.
    """

    def __init__(self, room: int, exact_dtype: npt.DTypeLike, rows: int) -> None:
        self.room = room
        self._dtype = np.dtype(exact_dtype)
        self._rows = rows
        self._count = 0
        self._first: Cells | None = None
        self._last: Cells | None = None
        self._change: Float64 | None = None
        self._sample: npt.NDArray[Any] | None = None
        self._moved: npt.NDArray[np.bool_] | None = None
        self._early: list[npt.NDArray[Any]] = []
        self._twins = 0

    def facts(self, sums: Sums, sample: npt.NDArray[Any]) -> Float64:
        """Return the facts of the next snapshot: float64 [len(FACTS)], NaN where not known."""
        known = dict.fromkeys(FACTS, math.nan)
        known["nonfinite"] = float(sums.nonfinite)
        if not sums.nonfinite:
            known["square"], known["largest"] = sums.square, sums.largest
            known |= self._moves(folded(sums.cells, self.room, self._dtype))
        else:
            self._last = self._change = None
        known |= self._stands(sample)
        self._count += 1
        return np.array([known[name] for name in FACTS])

    def _moves(self, cells: Cells) -> dict[str, float]:
        known: dict[str, float] = {}
        if self._first is None:
            self._first = cells if self._count == 0 else None
            known["start"] = 0.0 if self._count == 0 else math.nan
        else:
            away = np.subtract(cells, self._first, dtype=np.float64)
            known["start"] = float(away @ away)
        if self._last is not None:
            change = np.subtract(cells, self._last, dtype=np.float64)
            known["change"] = float(change @ change)
            if self._change is not None:
                known["product"] = float(change @ self._change)
            self._change = change.astype(self._dtype)
        self._last = cells
        return known

    def _stands(self, sample: npt.NDArray[Any]) -> dict[str, float]:
        known = {
            "compared": float(sample.size),
            "units": float(self._rows),
            "moved": 0.0,
        }
        if self._count < _EARLY:
            self._early.append(sample[:_TWINS_AMONG].copy())
            self._twins = _twins(self._early)
        else:
            self._early = []
        known["twins"] = float(self._twins)
        if self._sample is not None:
            same = sample == self._sample
            known["unchanged"] = float(np.count_nonzero(same))
            known["units_unchanged"] = float(
                np.count_nonzero(same.reshape(self._rows, -1).all(axis=1))
            )
            self._moved = ~same if self._moved is None else self._moved | ~same
            known["moved"] = float(np.count_nonzero(self._moved))
        self._sample = sample.copy()
        return known


def _twins(early: list[npt.NDArray[Any]]) -> int:
    """Count the entries that move and are in four of these snapshots what another one is."""
    picked = np.array([early[k % len(early)] for k in sorted({0, 1, 2, len(early) - 1})])
    moving = picked[:, (picked != picked[0]).any(axis=0)]
    if not moving.shape[1]:
        return 0
    _, which, counts = np.unique(moving, axis=1, return_inverse=True, return_counts=True)
    return int(np.count_nonzero(counts[which.reshape(-1)] > 1))
