"""Which hidden unit of one network is which of another: matched by their weights, layer by layer.

Exact copies are found first, in one pass forward: once the units of a layer are known, the rows of
the next are the same numbers, up to one factor for each. Else units are matched as in Git Re-Basin
(Ainsworth et al. 2022, arXiv 2209.04836, section 3.2): assignments that maximise the products of
matched rows and columns, one layer at a time until nothing changes. Arrays in, orders out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from koopscope._types import Float64, Floating
from koopscope.comparison.chains import Slot, UnitGroup
from koopscope.runs.views.realigned import Indices

#: Reads a tensor of one run at one of the chosen snapshots, in the shape of the slot.
Reader = Callable[[Slot, int], Floating]

#: How the second run is read, once some of its units have been matched.
Realigner = Callable[[Sequence["Match"]], Reader]

#: Units and weights of a matrix up to which networks that are no copies are matched: an assignment
#: of so many takes a few seconds, and two snapshots of both matrices are held.
MOST_UNITS = 2048
MOST_WEIGHTS = 2**24

#: Parts of a unit's length by which numbers differ that were rounded and summed in another order.
EXACT = 1e-5

#: Rounds over all layers; assignments settle in two or three.
_ROUNDS = 3

#: Random directions in which rows are looked at: two units agree in all of them only if they are
#: the same.
_DIRECTIONS = 8

#: Weights that are widened to float64 at once.
_TOGETHER = 2**20


@dataclass(frozen=True)
class Match:
    """How the units of one group of the second run stand to the first's.

    Attributes
    ----------
    order
        intp [n]: unit k of the first is unit ``order[k]`` of the second.
    scale
        float64 [n], the first's weights into a unit over the second's: ones, where the group may
        not be scaled or its units are at one scale.
    is_known
        Whether they were matched at all: some groups are too large.
    """

    order: Indices
    scale: Float64
    is_known: bool = True

    @classmethod
    def as_stored(cls, units: int, *, is_known: bool = True) -> Match:
        """Return the match that leaves every unit where it is."""
        return cls(np.arange(units), np.ones(units), is_known=is_known)

    @property
    def moved(self) -> int:
        """How many units stand elsewhere."""
        return int(np.count_nonzero(self.order != np.arange(len(self.order))))

    @property
    def rescaled(self) -> int:
        """How many units have another scale."""
        return int(np.count_nonzero(self.scale != 1.0))


@dataclass(frozen=True)
class Matches:
    """The match of every group.

    Attributes
    ----------
    groups
        As the groups come.
    are_copies
        Whether both networks are the same at every snapshot that was looked at, but for places and
        scales of units.
    start_together
        Whether they are at the first of them, but for places.
    """

    groups: tuple[Match, ...]
    are_copies: bool
    start_together: bool


def matched(
    groups: Sequence[UnitGroup], snapshots: Sequence[int], first: Reader, second: Realigner
) -> Matches:
    """Match the units of every group.

    Parameters
    ----------
    groups
        In model order.
    snapshots
        Which to look at: the first decides where the networks are copies there.
    """
    copies = _copies(groups, snapshots, first, second)
    if copies is not None:
        return Matches(tuple(copies), True, True)
    copies = _copies(groups, snapshots[:1], first, second)
    if copies is not None and not any(match.rescaled for match in copies):
        return Matches(tuple(copies), False, True)
    return Matches(tuple(_by_products(groups, snapshots, first, second)), False, False)


def _copies(
    groups: Sequence[UnitGroup], snapshots: Sequence[int], first: Reader, second: Realigner
) -> list[Match] | None:
    """Return the matches of networks that are copies at these snapshots, else ``None``."""
    found: list[Match] = []
    for group in groups:
        match = _copy(group, snapshots, first, second(found))
        if match is None:
            return None
        found.append(match)
    read = second(found)
    if all(_agrees(group.outgoing, at, first, read) for group in groups for at in snapshots):
        return found
    return None


def _agrees(slot: Slot, snapshot: int, first: Reader, second: Reader) -> bool:
    """Whether a tensor is the same in both runs: what reads matched units has to be."""
    one, other = first(slot, snapshot), second(slot, snapshot)
    return bool(np.linalg.norm(one - other) <= EXACT * np.linalg.norm(one))


def _copy(
    group: UnitGroup, snapshots: Sequence[int], first: Reader, second: Reader
) -> Match | None:
    one, other = (_looks(group, snapshots, read) for read in (first, second))
    lengths = [np.linalg.norm(looks, axis=1) for looks in (one, other)]
    if not min(float(length.min()) for length in lengths) > 0.0:
        return None  # a unit without any weight could be any of the others
    allowed = EXACT * lengths[0]
    if group.is_scalable:
        one, other = (
            looks / length[:, None] for looks, length in zip((one, other), lengths, strict=True)
        )
        allowed = np.full(group.units, EXACT)
    apart, nearest = cKDTree(other).query(one)
    order = np.asarray(nearest, np.intp)
    if not (apart <= allowed).all() or len(np.unique(order)) < group.units:
        return None
    scale = np.ones(group.units)
    if group.is_scalable:
        scale = _plain(lengths[0] / lengths[1][order])
    return Match(order, scale)


def _plain(ratios: Float64) -> Float64:
    """Return ratios without rounding: powers of two where they are nearly some."""
    nearest = np.exp2(np.round(np.log2(ratios)))
    found: Float64 = np.where(np.abs(ratios / nearest - 1.0) <= EXACT, nearest, ratios)
    return found


def _looks(group: UnitGroup, snapshots: Sequence[int], read: Reader) -> Float64:
    """Return float64 [n, looks]: each unit's row in a few random directions, and its biases."""
    rng = np.random.default_rng(0)
    directions: Float64 | None = None
    parts = []
    for snapshot in snapshots:
        rows = _rows(group.incoming, snapshot, read)
        if directions is None:
            directions = rng.standard_normal((rows.shape[1], _DIRECTIONS)) / np.sqrt(_DIRECTIONS)
        parts.append(_projected(rows, directions))
        parts += [read(slot, snapshot)[:, None].astype(float) for slot in group.beside]
    return np.concatenate(parts, axis=1)


def _projected(rows: Floating, directions: Float64) -> Float64:
    """Multiply in float64, some rows at a time: sums in another order then agree."""
    found = np.empty((len(rows), directions.shape[1]))
    step = max(1, _TOGETHER // max(1, rows.shape[1]))
    for k in range(0, len(rows), step):
        found[k : k + step] = rows[k : k + step].astype(float) @ directions
    return found


def _rows(slot: Slot, snapshot: int, read: Reader) -> Floating:
    """Return [n, rest], a row for each index of the slot's axis."""
    values = np.moveaxis(read(slot, snapshot), slot.axis, 0)
    return values.reshape(len(values), -1)


def _by_products(
    groups: Sequence[UnitGroup], snapshots: Sequence[int], first: Reader, second: Realigner
) -> list[Match]:
    """Match units so that the products of matched rows and columns are largest.

    The first round goes forward by what leads into each unit alone, since what reads it has no
    order yet.
    """
    found = [Match.as_stored(group.units, is_known=group.units <= MOST_UNITS) for group in groups]
    for turn in range(_ROUNDS):
        changed = False
        for k, group in enumerate(groups):
            if not found[k].is_known:
                continue
            others = [*found[:k], Match.as_stored(group.units), *found[k + 1 :]]
            read = second(others)
            slots = [group.incoming, *group.beside, *([group.outgoing] if turn else [])]
            products = np.zeros((group.units, group.units), np.float32)
            for slot in slots:
                for snapshot in snapshots:
                    products += _rows(slot, snapshot, first) @ _rows(slot, snapshot, read).T
            order = linear_sum_assignment(products, maximize=True)[1].astype(np.intp)
            changed |= bool((order != found[k].order).any())
            found[k] = Match(order, np.ones(group.units))
        if not changed:
            break
    return found
