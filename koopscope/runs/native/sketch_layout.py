"""Where sketches lie in a run file, and how they are written: ``/sketch``, since format 1.2.

A row holds the change of all tensors' sketches since the row before, so that float32 keeps small
changes; the sum of the rows up to a snapshot is its sketch. Like every other row it counts only
once its step is in ``/step``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import h5py
import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.runs.sketches import FACTS, SketchInfo
from koopscope.runs.sketching.sketcher import Sketched

GROUP = "sketch"

#: What ``@method`` says: another projection gets another name.
METHOD = "countsketch-2"

#: Rows of ``values`` that are added up at once.
_SUMMED = 64


@dataclass(frozen=True)
class SketchedTensor:
    """A tensor in ``/sketch/index``: ``numbers`` columns of ``values``, of ``held`` weights."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str
    numbers: int
    resolution: float
    held: int

    def fits(self, found: object) -> bool:
        """Return whether a later sketch is of the same tensor."""
        return isinstance(found, Sketched) and found.shape == self.shape and found.held == self.held


def create_sketch(root: h5py.File, info: SketchInfo, tensors: Sequence[SketchedTensor]) -> None:
    """Add empty datasets for the sketches of these tensors."""
    group = root.create_group(GROUP)
    group.attrs["method"] = METHOD
    group.attrs["numbers"] = info.numbers
    group.attrs["seed"] = info.seed
    group.attrs["facts"] = json.dumps(FACTS)
    listed = [
        {
            "name": each.name,
            "shape": each.shape,
            "dtype": each.dtype,
            "kind": each.kind,
            "numbers": each.numbers,
            "resolution": each.resolution,
            "held": each.held,
        }
        for each in tensors
    ]
    index = json.dumps(listed, separators=(",", ":")).encode()
    group.create_dataset("index", data=np.frombuffer(index, np.uint8))
    width, count = sum(each.numbers for each in tensors), len(tensors)
    _rows(group, "values", (width,), np.float32)
    _rows(group, "facts", (count, len(FACTS)), np.float64)
    group.create_dataset("kept", (0,), np.int64, maxshape=(None,), chunks=(1024,))


def _rows(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    group.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape))


class SketchWriter:
    """The datasets of ``/sketch`` in a file that is open for one change."""

    def __init__(self, group: h5py.Group) -> None:
        self._group = group

    @cached_property
    def tensors(self) -> tuple[SketchedTensor, ...]:
        """What is sketched, in the order of the columns."""
        return tuple(
            SketchedTensor(
                each["name"],
                tuple(each["shape"]),
                each["dtype"],
                each["kind"],
                each["numbers"],
                each["resolution"],
                each["held"],
            )
            for each in json.loads(self._group["index"][()].tobytes())
        )

    @property
    def info(self) -> SketchInfo:
        """How it is sketched."""
        return SketchInfo(int(self._group.attrs["numbers"]), int(self._group.attrs["seed"]))

    def kept_before(self, row: int) -> int:
        """Return of how many snapshots before a row the weights are kept."""
        return int(np.count_nonzero(self._group["kept"][:] < row))

    def positions(self, rows: int) -> Float64:
        """Return the sketch of the last of so many snapshots: the sum of their rows."""
        values = self._group["values"]
        summed = np.zeros(values.shape[1])
        for first in range(0, rows, _SUMMED):
            for row in values[first : min(first + _SUMMED, rows)]:
                summed += row
        return summed

    def write(self, row: int, changes: npt.NDArray[np.float32], facts: Float64) -> None:
        """Write rows [n, width] and [n, tensors, len(FACTS)] from ``row`` on.

        A file that was begun with fewer facts stays as it is.
        """
        facts = facts[:, :, : self._group["facts"].shape[2]]
        for name, rows in (("values", changes), ("facts", facts)):
            dataset = self._group[name]
            dataset.resize(row + len(rows), axis=0)
            dataset[row:] = rows

    def keep(self, row: int) -> int:
        """Note that a snapshot's weights are in the file; return the row where they belong."""
        dataset, place = self._group["kept"], self.kept_before(row)
        dataset.resize((place + 1,))
        dataset[place] = row
        return place

    def discard_from(self, row: int) -> None:
        """Shorten everything to so many snapshots."""
        for name in ("values", "facts"):
            if len(self._group[name]) > row:
                self._group[name].resize(row, axis=0)
        kept = self.kept_before(row)
        if len(self._group["kept"]) > kept:
            self._group["kept"].resize((kept,))
