"""Bring the hidden units of one run into the order of another's, before weights meet weights.

Looks at two snapshots of each run, one layer's matrices at a time. What cannot be aligned stays and
is named. Only where both runs are copies of each other are units also brought to one scale; for
others that is told as a measure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from koopscope._types import Floating
from koopscope.comparison.chains import Chains, Slot, UnitGroup, chains
from koopscope.comparison.matching import (
    MOST_UNITS,
    MOST_WEIGHTS,
    Match,
    Reader,
    matched,
)
from koopscope.comparison.pairing import Pairing
from koopscope.comparison.scales import LastDistances, last_distances
from koopscope.comparison.timeline import Timeline
from koopscope.runs.run import BLOCK_BYTES, Run, TensorInfo
from koopscope.runs.views.realigned import AxisOrder, Realigned

TOO_LARGE = f"more than {MOST_UNITS:,} units, or {MOST_WEIGHTS:,} weights in a matrix"


@dataclass(frozen=True)
class AlignedLayer:
    """The hidden units of one layer.

    Attributes
    ----------
    name
        As the first run calls it.
    units, moved, rescaled
        How many there are, stand elsewhere in the second run, and have another scale there.
    """

    name: str
    units: int
    moved: int
    rescaled: int


@dataclass(frozen=True)
class Alignment:
    """How the second run's hidden units were brought into the order of the first's.

    Attributes
    ----------
    layers
        Those whose units may change places, in model order.
    fixed
        By layer, why its units were left where they are.
    are_copies
        Whether the runs are one another's copies at the snapshots that were looked at, up to the
        places and scales of units.
    start_together
        Whether they are at the first of them.
    last
        How far the last weights are apart: as stored, aligned, and at one scale.
    """

    layers: tuple[AlignedLayer, ...]
    fixed: Mapping[str, str]
    are_copies: bool
    start_together: bool
    last: LastDistances | None

    @property
    def units(self) -> int:
        """How many hidden units could be matched."""
        return sum(layer.units for layer in self.layers)

    @property
    def moved(self) -> int:
        """How many of them stand elsewhere in the second run."""
        return sum(layer.moved for layer in self.layers)

    @property
    def rescaled(self) -> int:
        """How many of them were brought to another scale."""
        return sum(layer.rescaled for layer in self.layers)


def aligned(
    first: Run, second: Run, pairing: Pairing, when: Timeline
) -> tuple[Run, Alignment | None]:
    """Return the second run with its units in the first's order, and what was done.

    Nothing is done where the runs are not of one network, or no unit may change places.

    Parameters
    ----------
    pairing
        Which tensor of the second stands beside which of the first.
    when
        Which snapshots do.
    """
    if not pairing.is_complete or when.count == 0:
        return second, None
    found = chains([one for one, _ in pairing.pairs])
    fixed = dict(found.fixed)
    groups = []
    for group in found.groups:
        if max(group.incoming.tensor.size, group.outgoing.tensor.size) > MOST_WEIGHTS:
            fixed[group.name] = TOO_LARGE
        else:
            groups.append(group)
    if not groups:
        return second, None if not fixed else Alignment((), fixed, False, False, None)
    return _aligned(first, second, pairing, when, Chains(tuple(groups), fixed))


def _aligned(
    first: Run, second: Run, pairing: Pairing, when: Timeline, known: Chains
) -> tuple[Run, Alignment | None]:
    groups = known.groups
    partners = {one.name: other for one, other in pairing.pairs}
    ends = [0, when.count - 1]

    def own(matches: Sequence[Match]) -> Reader:
        seen = Realigned(first, _orders(groups, matches, {}))
        return _reader(seen, [int(when.indices[0][k]) for k in ends], {})

    def other(matches: Sequence[Match]) -> Reader:
        seen = Realigned(second, _orders(groups, matches, partners))
        return _reader(seen, [int(when.indices[1][k]) for k in ends], partners)

    usable = _finite(groups, range(len(ends)), own(()), other(()))
    if not usable:
        return second, None
    found = matched(groups, usable, own(()), other)
    fixed = dict(known.fixed)
    layers = []
    for group, match in zip(groups, found.groups, strict=True):
        if match.is_known:
            layers.append(AlignedLayer(group.name, group.units, match.moved, match.rescaled))
        else:
            fixed[group.name] = TOO_LARGE
    last = None
    if not found.are_copies:
        last = last_distances(groups, usable[-1], own, other, found.groups)
    report = Alignment(tuple(layers), fixed, found.are_copies, found.start_together, last)
    if report.moved or report.rescaled:
        return Realigned(second, _orders(groups, found.groups, partners)), report
    return second, report


def _finite(
    groups: Sequence[UnitGroup], ends: Sequence[int], first: Reader, second: Reader
) -> list[int]:
    """Return which of the chosen snapshots hold finite weights in both runs."""
    slots = {
        slot.tensor.name: slot for group in groups for slot in (group.incoming, group.outgoing)
    }
    return [
        end
        for end in ends
        if all(
            np.isfinite(read(slot, end)).all()
            for slot in slots.values()
            for read in (first, second)
        )
    ]


def _orders(
    groups: Sequence[UnitGroup], matches: Sequence[Match], partners: Mapping[str, TensorInfo]
) -> dict[str, list[AxisOrder]]:
    """Return what matches make of each tensor, by the names of the run that they are applied to."""
    found: dict[str, list[AxisOrder]] = {}
    for group, match in zip(groups, matches, strict=False):
        if not match.moved and not match.rescaled:
            continue
        into = match.scale if match.rescaled else None
        out = None if into is None else 1.0 / into
        slots = [(group.incoming, into), (group.outgoing, out)]
        slots += [(slot, into) for slot in group.beside]
        for slot, scale in slots:
            name = slot.tensor.name
            stored = partners[name].name if name in partners else name
            order = AxisOrder(slot.shape, slot.axis, match.order, scale)
            found.setdefault(stored, []).append(order)
    return found


def _reader(run: Run, snapshots: Sequence[int], partners: Mapping[str, TensorInfo]) -> Reader:
    """Return what reads one tensor at one of these snapshots."""

    def read(slot: Slot, index: int) -> Floating:
        tensor = partners.get(slot.tensor.name, slot.tensor)
        values = np.empty((1, tensor.size), run.read_dtype(tensor))
        row = range(snapshots[index], snapshots[index] + 1)
        width = max(1, BLOCK_BYTES // (max(1, run.description.snapshots) * values.itemsize))
        for start in range(0, tensor.size, width):
            stop = min(start + width, tensor.size)
            run.read_rows(tensor, start, stop, row, values[:, start:stop])
        wide: Floating = values.astype(np.float32) if values.itemsize < 4 else values
        return wide.reshape(slot.shape)

    return read
