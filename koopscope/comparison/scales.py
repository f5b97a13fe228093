"""How far the last weights of two runs are apart, with hidden units at one scale as well.

A unit that is scaled up while its readers are scaled down computes the same where the activation is
linear on either side of zero (ReLU). Weights alone do not tell the activation, so this is a measure
of its own: nothing else rests on it. Arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from koopscope._types import Float64, Floating
from koopscope.comparison.chains import Slot, UnitGroup
from koopscope.comparison.matching import Match, Reader, Realigner

#: Rounds in which the scales of neighbouring layers settle.
_ROUNDS = 3


@dataclass(frozen=True)
class LastDistances:
    """Distances of the last weights around hidden units, relative to their mean length.

    Attributes
    ----------
    as_stored
        Weight by weight.
    aligned
        With units in one order.
    at_one_scale
        With each unit scaled so that what leads into it is as long as what reads it; ``None``
        where norms stand between, and no unit may be scaled.
    """

    as_stored: float
    aligned: float
    at_one_scale: float | None


def last_distances(
    groups: Sequence[UnitGroup],
    snapshot: int,
    first: Realigner,
    second: Realigner,
    matches: Sequence[Match],
) -> LastDistances:
    """Measure two runs at one snapshot.

    Parameters
    ----------
    first, second
        Read each run under matches of its units.
    matches
        Of the second run's units.
    """
    slots = list(
        {
            slot.tensor.name: slot
            for group in groups
            for slot in (group.incoming, group.outgoing, *group.beside)
        }.values()
    )
    plain = [Match.as_stored(group.units) for group in groups]
    scaled = None
    if any(group.is_scalable for group in groups):
        balanced = (
            first(_balanced(groups, snapshot, first, plain)),
            second(_balanced(groups, snapshot, second, matches)),
        )
        scaled = _distance(slots, snapshot, *balanced)
    return LastDistances(
        _distance(slots, snapshot, first(()), second(())),
        _distance(slots, snapshot, first(()), second(matches)),
        scaled,
    )


def _distance(slots: Sequence[Slot], snapshot: int, first: Reader, second: Reader) -> float:
    apart, lengths = 0.0, np.zeros(2)
    for slot in slots:
        both = [read(slot, snapshot) for read in (first, second)]
        apart += _square(both[0] - both[1])
        lengths += [_square(values) for values in both]
    mean = float(np.sqrt(lengths).mean())
    return float(np.sqrt(apart)) / mean if mean > 0.0 else 0.0


def _square(values: Floating) -> float:
    flat = values.reshape(-1).astype(np.float64)
    return float(flat @ flat)


def _balanced(
    groups: Sequence[UnitGroup], snapshot: int, read_as: Realigner, matches: Sequence[Match]
) -> list[Match]:
    """Return the matches with the scales at which rows and columns of each unit are as long."""
    found = list(matches)
    for _ in range(_ROUNDS):
        for k, group in enumerate(groups):
            if not group.is_scalable:
                continue
            read = read_as(found)
            into, out = (_norms(slot, snapshot, read) for slot in (group.incoming, group.outgoing))
            known = (into > 0.0) & (out > 0.0)
            ratio = np.sqrt(np.divide(out, into, out=np.ones_like(into), where=known))
            ratio[~known] = 1.0
            found[k] = replace(found[k], scale=found[k].scale * ratio)
    return found


def _norms(slot: Slot, snapshot: int, read: Reader) -> Float64:
    values = np.moveaxis(read(slot, snapshot), slot.axis, 0)
    rows = values.reshape(len(values), -1)
    found: Float64 = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return found
