"""The part of a recorder that sketches: it measures each snapshot, and writes its row.

Knows which snapshots reached the file: a fact about a change is written only where the snapshot
before is the one that it was measured from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import LeftOutError, StoredArray
from koopscope.runs.native.rows import Row
from koopscope.runs.native.sketch_layout import SketchedTensor
from koopscope.runs.native.tensor_plan import TensorPlan
from koopscope.runs.native.writer import RunWriter
from koopscope.runs.sketches import (
    BETWEEN_NEIGHBOURS,
    DEFAULT_NUMBERS,
    FACTS,
    LEAST_NUMBERS,
    SINCE_THE_START,
    SketchInfo,
)
from koopscope.runs.sketching.sketcher import Sketched, Sketcher, numbers_of


def sketch_info(sketch: int | bool, seed: int = 0) -> SketchInfo:
    """Return what ``sketch=`` asks for: K numbers a tensor, 256 where it is ``True``.

    Raises
    ------
    KoopscopeError
        If there cannot be so many.
    """
    is_number = not isinstance(sketch, bool) and hasattr(sketch, "__index__")
    numbers = DEFAULT_NUMBERS if sketch is True else int(sketch) if is_number else 0
    if numbers < LEAST_NUMBERS or numbers > 2**20:
        raise KoopscopeError(
            f"a sketch of {sketch!r} numbers a tensor is not possible",
            f"give {LEAST_NUMBERS} to {2**20:,}, or True for {DEFAULT_NUMBERS}",
        )
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed < 2**63:
        raise KoopscopeError(f"a seed of {seed!r} is not possible", "use 0 or more")
    return SketchInfo(numbers, int(seed))


def sketch_recording(
    sketch: int | bool, seed: int, keep_every: int | None
) -> SketchRecording | None:
    """Return what ``Recorder(sketch=, sketch_seed=, keep_every=)`` asks for, ``None`` for weights.

    Raises
    ------
    KoopscopeError
        If it is not possible.
    """
    if sketch is not False:
        return SketchRecording(sketch_info(sketch, seed), keep_every)
    if keep_every is not None:
        raise KoopscopeError(
            "keep_every is for sketches, and here every snapshot is kept",
            "leave it out, or give sketch=",
        )
    return None


class SketchRecording:
    """Measures the snapshots of one training and writes them as sketches.

    Parameters
    ----------
    info
        How.
    keep_every
        Keep the weights of every so manyth snapshot as well, from the first one on.
    """

    def __init__(self, info: SketchInfo, keep_every: int | None = None) -> None:
        if keep_every is not None and (isinstance(keep_every, bool) or keep_every < 1):
            raise KoopscopeError(f"keep_every={keep_every!r} is not possible", "use 1 or more")
        self.info = info
        self._sketcher = Sketcher(info)
        self._keep_every = keep_every
        self._taken = 0
        self._positions: Float64 | None = None
        self._written: int | None = None  # moment of the last row
        self._pending: tuple[Float64 | None, int | None, bool] = (None, None, False)
        self._began = False  # whether the file's first row is of this sketcher's first moment
        self._tensors: tuple[SketchedTensor, ...] = ()

    def measured(self, row: Row) -> Row:
        """Return a row with sketches in place of tensors; its own weights are let go of."""
        if any(isinstance(value, Sketched) for value in row.tensors.values()):
            return row
        keep = row.keep or bool(self._keep_every and self._taken % self._keep_every == 0)
        self._taken += 1
        weights = row.tensors if keep else None
        return replace(row, tensors=self._sketcher.measured(row.tensors), kept=weights)

    def layout(
        self, plans: Sequence[TensorPlan], row: Row
    ) -> tuple[SketchInfo, list[SketchedTensor]]:
        """Return what the file is made for, from its first row."""
        return self.info, [
            SketchedTensor(
                plan.name,
                plan.shape,
                plan.dtype,
                plan.kind,
                numbers_of(plan.shape, plan.dtype, self.info.numbers),
                row.tensors[plan.name].resolution,
                row.tensors[plan.name].held,
            )
            for plan in plans
        ]

    def forget(self) -> None:
        """Say that the file is another, or was changed: what is in it is looked up again."""
        self._positions = self._written = None
        self._began = False

    def write(self, writer: RunWriter, rows: Sequence[Row]) -> list[str]:
        """Write rows behind what is committed; return what to warn of."""
        sketch = writer.sketch
        assert sketch is not None
        first = writer.snapshots
        positions = self._positions
        if positions is None:
            self._tensors = sketch.tensors
            positions = sketch.positions(first)
        before, began = self._written, self._began
        warnings: list[str] = []
        changes = np.zeros((len(rows), len(positions)), np.float32)
        facts = np.full((len(rows), len(self._tensors), len(FACTS)), np.nan)
        for place, row in enumerate(rows):
            moment = max(
                (e.moment for e in row.tensors.values() if isinstance(e, Sketched)), default=0
            )
            began = began or (first + place == 0 and moment == 1)
            neighbours = before is not None and moment == before + 1
            positions = self._filled(row, positions, changes[place], facts[place], warnings)
            unknown = [*(() if began else SINCE_THE_START)]
            unknown += () if neighbours else BETWEEN_NEIGHBOURS
            for name in unknown:
                facts[place, :, FACTS.index(name)] = np.nan
            before = moment
            if row.kept is not None:
                writer.write_kept(first + place, _weights(row.kept, self._tensors, warnings))
        sketch.write(first, changes, facts)
        self._pending = positions, before, began
        return warnings

    def committed(self) -> None:
        """Say that what was written last is in the file."""
        self._positions, self._written, self._began = self._pending

    def _filled(
        self,
        row: Row,
        positions: Float64,
        changes: np.ndarray[Any, np.dtype[np.float32]],
        facts: Float64,
        warnings: list[str],
    ) -> Float64:
        """Fill one row; return where the sketches are after it, as a reader will see them."""
        column = 0
        for index, tensor in enumerate(self._tensors):
            inside = slice(column, column + tensor.numbers)
            column += tensor.numbers
            found = row.tensors.get(tensor.name)
            if not tensor.fits(found):
                warnings.append(f"{tensor.name} is missing or of another shape")
                continue
            assert isinstance(found, Sketched)
            facts[index] = found.facts
            if not found.facts[FACTS.index("nonfinite")]:
                changes[inside] = found.values - positions[inside]
        after: Float64 = positions + changes.astype(np.float64)
        return after


def _weights(
    named: Mapping[str, Any], tensors: Sequence[SketchedTensor], warnings: list[str]
) -> dict[str, StoredArray]:
    weights = {}
    for tensor in tensors:
        plan = TensorPlan(tensor.name, tensor.shape, tensor.dtype, tensor.kind)
        try:
            weights[tensor.name] = plan.fitted(named.get(tensor.name))
        except LeftOutError as error:
            warnings.append(f"the weights of {tensor.name} are not kept: it {error.reason}")
    return weights
