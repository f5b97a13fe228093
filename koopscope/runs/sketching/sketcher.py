"""Turns snapshots into sketches, one after the other, and remembers what facts need in between.

Takes tensors of any framework, whole or in the part that this process holds, and never holds a
whole tensor of its own. What it remembers is bounded, whatever the size of the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope._threads import cores, product_threads
from koopscope._types import Float64
from koopscope.runs.sketches import FACTS, LATER_FACTS, SketchInfo
from koopscope.runs.sketching.boxes import Box, boxes_of
from koopscope.runs.sketching.facts import Remembered, sampled_places
from koopscope.runs.sketching.pattern import CELLS, Pattern, TensorPattern
from koopscope.runs.sketching.projection import Sums
from koopscope.runs.sketching.unit_tables import UnitTable, unit_tables

#: Bytes of cells that are remembered over all tensors, for exact facts.
REMEMBERED_BYTES = 24 * 2**20

#: Weights of a snapshot from which on threads are worth their start, and of a tensor from which on
#: they share it.
_WORTH_A_THREAD, _SHARED = 2**21, 2**23

#: Fewest cells of a tensor that are remembered.
_LEAST_ROOM = 256


@dataclass(frozen=True)
class Sketched:
    """One tensor of one snapshot, or the part of it that a process holds.

    Attributes
    ----------
    shape, dtype
        Of the whole tensor.
    values
        float64, the sketch.
    facts
        float64 [len(FACTS)].
    resolution
        See ``TensorSketch``.
    held
        Weights of the tensor that went into it: fewer than all in a process that holds a part.
    moment
        Counts the snapshots that its sketcher has seen: facts on a change are of this one and the
        one before.
    """

    shape: tuple[int, ...]
    dtype: str
    values: Float64
    facts: Float64
    resolution: float
    held: int
    moment: int = 0

    @property
    def size(self) -> int:
        """Weights of the whole tensor."""
        return math.prod(self.shape)


def numbers_of(shape: tuple[int, ...], dtype: str, numbers: int) -> int:
    """Return how many numbers the sketch of a tensor has; a complex weight counts as two."""
    return min(math.prod(shape) * (2 if dtype.startswith("complex") else 1), numbers)


def room_for(sizes: Sequence[int], remembered_bytes: int = REMEMBERED_BYTES) -> int:
    """Return how many cells of each tensor fit what may be remembered, three times over.

    Parameters
    ----------
    sizes
        Weights of each tensor.
    """
    room = CELLS
    while room > _LEAST_ROOM and 12 * sum(min(n, room) for n in sizes) > remembered_bytes:
        room //= 2
    return room


def summed(parts: Sequence[Mapping[str, Sketched]]) -> dict[str, Sketched]:
    """Return the sketches of whole tensors from those of the parts that several processes hold."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _sum([part[name] for part in parts if name in part]) for name in names}


def _sum(parts: Sequence[Sketched]) -> Sketched:
    facts = np.sum([part.facts for part in parts], axis=0)
    largest = FACTS.index("largest")
    facts[largest] = np.max([part.facts[largest] for part in parts])
    first = parts[0]
    return Sketched(
        first.shape,
        first.dtype,
        np.sum([part.values for part in parts], axis=0),
        facts,
        max(part.resolution for part in parts),
        sum(part.held for part in parts),
        first.moment,
    )


#: Where the facts on units are.
_UNIT_COLUMNS = [FACTS.index(name) for name in LATER_FACTS]


@dataclass
class _Tensor:
    own: TensorPattern
    memory: Remembered
    places: list[slice | npt.NDArray[np.intp]] = field(default_factory=list)


class Sketcher:
    """Sketches the snapshots of one training, in their order.

    Parameters
    ----------
    info
        How.
    remembered_bytes
        See ``REMEMBERED_BYTES``.
    """

    def __init__(self, info: SketchInfo, remembered_bytes: int = REMEMBERED_BYTES) -> None:
        self.info = info
        self._pattern = Pattern.of(info.numbers, info.seed)
        self._bytes = remembered_bytes
        self._room: int | None = None
        self._tensors: dict[str, _Tensor] = {}
        self._units: dict[str, UnitTable] | None = None
        self._moment = 0

    @product_threads(1)  # threads of its own share the work; those of BLAS would wait by spinning
    def measured(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sketch of every tensor of a snapshot by name; what is none stays as it is.

        Parameters
        ----------
        tensors
            Names to arrays, tensors, or the ``Part`` (or parts) of one that this process holds.
        """
        self._moment += 1
        boxes = {name: boxes_of(value) for name, value in tensors.items()}
        if self._room is None:
            sizes = [math.prod(box[0].shape) for box in boxes.values() if box]
            self._room = room_for(sizes, self._bytes)
        found = {**tensors, **self._all_sketched({n: box for n, box in boxes.items() if box})}
        self._count_units(boxes, found)
        return found

    def _all_sketched(self, boxes: Mapping[str, Sequence[Box]]) -> dict[str, Sketched]:
        """Sketch every tensor: threads share the largest, and take the others one each."""
        for name, box in boxes.items():
            self._begin(name, box)
        workers = cores()
        sizes = {
            name: sum(math.prod(each.own_shape) for each in box) for name, box in boxes.items()
        }
        on_host = all(each.device is None for box in boxes.values() for each in box)
        if workers == 1 or not on_host or sum(sizes.values()) < _WORTH_A_THREAD:
            return {name: self._sketched(name, box) for name, box in boxes.items()}
        large = [name for name, size in sizes.items() if size >= _SHARED]
        found = {name: self._sketched(name, boxes[name], workers) for name in large}
        # The longest first, so that no thread is left with one at the end.
        rest = sorted(boxes.keys() - found.keys(), key=sizes.__getitem__, reverse=True)
        with ThreadPoolExecutor(workers, thread_name_prefix="koopscope-sketch") as pool:
            done = pool.map(lambda name: self._sketched(name, boxes[name]), rest)
            found |= zip(rest, done, strict=True)
        return found

    def _count_units(self, boxes: Mapping[str, Sequence[Box]], found: Mapping[str, Any]) -> None:
        """Add to each matrix' facts which of its units stand still."""
        if self._units is None:
            named = {name: box for name, box in boxes.items() if box}
            self._units = unit_tables(named, self._pattern.signs)
        for name, table in self._units.items():
            sketched = found.get(name)
            if isinstance(sketched, Sketched) and table.fits(boxes):
                sketched.facts[_UNIT_COLUMNS] = table.counts(boxes)

    def _begin(self, name: str, boxes: Sequence[Box]) -> None:
        """Make ready for a tensor that is new, or of another shape than before."""
        pairs, known = _pairs(boxes), self._tensors.get(name)
        if known is None or known.own.size != pairs * math.prod(boxes[0].shape):
            self._tensors[name] = self._begun(name, boxes, pairs)

    def _sketched(self, name: str, boxes: Sequence[Box], workers: int = 1) -> Sketched:
        known = self._tensors[name]
        sums = [box.sums(known.own, _pairs(boxes), workers) for box in boxes]
        total = _total(sums)
        sample = np.concatenate(
            [box.sample(places) for box, places in zip(boxes, known.places, strict=True)]
        )
        room = known.memory.room
        resolution = 0.0 if known.own.size <= room else math.sqrt(2.0 / room)
        return Sketched(
            boxes[0].shape,
            boxes[0].dtype,
            known.own.reduced(total.cells),
            known.memory.facts(total, sample),
            resolution,
            sum(math.prod(box.own_shape) for box in boxes),
            self._moment,
        )

    def _begun(self, name: str, boxes: Sequence[Box], pairs: int) -> _Tensor:
        own = self._pattern.tensor(name, pairs * math.prod(boxes[0].shape))
        places, rows = [], 0
        for box in boxes:
            found, height, _ = sampled_places(box.own_shape)
            places.append(found)
            rows += height
        if len(boxes) > 1 and len({sampled_places(box.own_shape)[2] for box in boxes}) > 1:
            rows = 1  # rows of different lengths are no table
        wide = boxes[0].dtype in ("float64", "complex128")
        memory = Remembered(self._room or CELLS, np.float64 if wide else np.float32, max(1, rows))
        return _Tensor(own, memory, places)


def _pairs(boxes: Sequence[Box]) -> int:
    """Return 2 for complex weights, which count as pairs of numbers."""
    return 2 if boxes[0].dtype.startswith("complex") else 1


def _total(sums: Sequence[Sums]) -> Sums:
    if len(sums) == 1:
        return sums[0]
    bad = sum(each.nonfinite for each in sums)
    cells = np.sum([each.cells for each in sums], axis=0)
    return Sums(
        cells if not bad else np.zeros_like(cells),
        sum(each.square for each in sums),
        max(each.largest for each in sums),
        bad,
    )
