"""Gram matrices of a run that holds sketches: a few numbers a tensor in place of a pass.

Each matrix is the sketch's unbiased estimate, made to agree with the facts that were recorded
beside it: squared lengths, changes, products of neighbouring changes, distances from the start.
What the sketch costs is told by leaving out one of eight groups of its numbers at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.engine.local import refuse_empty
from koopscope.engine.sampled import MeasuredGrams
from koopscope.engine.source import ProgressListener
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.sketches import BETWEEN_NEIGHBOURS, FACTS, LATER_FACTS, TensorSketch
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.measured import GROUPS
from koopscope.spectra.units import UnitCounts

#: A change shorter than this part of the weights' norm is no change: squared norms that were summed
#: in float32 cannot tell it.
_RESOLVED = 1e-6

#: Snapshots at the start in which twins were looked for.
_EARLY = 8


def sketched_grams(
    run: Run, tensors: Sequence[TensorInfo], on_progress: ProgressListener | None = None
) -> MeasuredGrams:
    """Return the Gram matrix of each of these tensors, with its eight groups.

    Raises
    ------
    KoopscopeError
        If the run holds no snapshot, or cannot be read.
    """
    refuse_empty(run)
    grams = MeasuredGrams(run.description.snapshots, counted_alike=True)
    for tensor in tensors:
        grams.put(tensor, _grams_of(run.sketched(tensor), tensor))
        if on_progress is not None:
            on_progress(run.volume([tensor]))
    grams.weights_read = grams.weights
    return grams


def joint_grams(
    sketches: Sequence[TensorSketch], tensor: TensorInfo
) -> list[SnapshotGram] | SnapshotGram:
    """Return the Gram matrix of several runs' snapshots of one tensor, one run after the other.

    The sketches have one seed and one number of sums. Facts between neighbours, or from the start,
    are not known across runs.
    """
    facts = [sketch.facts.copy() for sketch in sketches]
    across = [FACTS.index(name) for name in (*BETWEEN_NEIGHBOURS, "start")]
    for own in facts[1:]:
        own[:1, across] = np.nan
        own[1:2, FACTS.index("product")] = np.nan
        own[:, FACTS.index("start")] = np.nan
    joint = replace(
        sketches[0],
        values=np.concatenate([sketch.values for sketch in sketches]),
        facts=np.concatenate(facts),
        whole=all(sketch.whole for sketch in sketches),
        resolution=max(sketch.resolution for sketch in sketches),
    )
    return _grams_of(joint, tensor)


def _grams_of(sketch: TensorSketch, tensor: TensorInfo) -> list[SnapshotGram] | SnapshotGram:
    if sketch.whole:
        return _described(products_of(sketch.values), sketch, tensor)
    return [_described(group, sketch, tensor) for group in sketch_groups(sketch)]


Anchored = tuple[Float64, Float64, float]


def sketch_groups(sketch: TensorSketch) -> list[Anchored]:
    """Return the products of changes, of the first snapshot with them, and its square, by group.

    The mean of the groups is the estimate from all numbers, corrected by the facts. The mean
    without one of them is the same estimate without that group's numbers, moved so that the eight
    are centred on the whole: their spread is the jackknife's.
    """
    k = sketch.values.shape[1]
    parts = [_scaled(products_of(sketch.values[:, g::GROUPS]), 1.0) for g in range(GROUPS)]
    whole = _corrected(_sum(parts), sketch)
    left_out = []
    for g in range(GROUPS):
        others = _sum([part for index, part in enumerate(parts) if index != g])
        rest = k - len(range(g, k, GROUPS))
        left_out.append(_corrected(_scaled(others, k / rest), sketch))
    centre = _scaled(_sum(left_out), 1.0 / GROUPS)
    # group = 8 whole - 7 (left out - centre + whole), so that both means come out as said.
    return [
        _sum([whole, _scaled(centre, GROUPS - 1.0), _scaled(each, 1.0 - GROUPS)])
        for each in left_out
    ]


def products_of(values: Float64) -> Anchored:
    """Return products of changes, of the first snapshot with them, and its square, of [T, k]."""
    changes = np.diff(values, axis=0)
    return changes @ changes.T, changes @ values[0], float(values[0] @ values[0])


def _sum(parts: Sequence[Anchored]) -> Anchored:
    increments, along, squares = zip(*parts, strict=True)
    return np.sum(increments, axis=0), np.sum(along, axis=0), float(sum(squares))


def _scaled(part: Anchored, factor: float) -> Anchored:
    return part[0] * factor, part[1] * factor, part[2] * factor


def _corrected(estimate: Anchored, sketch: TensorSketch) -> Anchored:
    """Make an estimate agree with what is known exactly.

    Lengths first: every product keeps its cosine. Then products of neighbouring changes, and last
    those of each change with the way before it, whose sum the distance from the start tells; the
    difference is shared out by the variance of each product, that of a CountSketch.
    """
    increments, along, square = estimate[0].copy(), estimate[1].copy(), estimate[2]
    squares = sketch.fact("change")[1:]
    estimated = np.diagonal(increments).copy()
    known = np.isfinite(squares)
    target = np.where(known, squares, estimated)
    scale = np.sqrt(np.divide(target, estimated, out=np.ones_like(target), where=estimated > 0.0))
    increments *= scale[:, None] * scale
    along *= scale
    np.fill_diagonal(increments, target)
    _correct_neighbours(increments, sketch.fact("product")[2:])
    _correct_way(increments, sketch.fact("start"), sketch.fact("product")[2:])
    return increments, *_correct_anchor(increments, along, square, sketch.fact("square"))


def _correct_neighbours(increments: Float64, products: Float64) -> None:
    rows = np.flatnonzero(np.isfinite(products))
    increments[rows, rows + 1] = increments[rows + 1, rows] = products[rows]


def _correct_way(increments: Float64, start: Float64, neighbours: Float64) -> None:
    """Correct <d_t, d_0 + ... + d_{t-1}> = (|w_{t+1} - w_0|^2 - |w_t - w_0|^2 - |d_t|^2) / 2."""
    lengths = np.diagonal(increments).copy()
    wanted = (np.diff(start) - lengths) / 2.0
    for t in range(2, len(lengths)):
        if not np.isfinite(wanted[t]):
            continue
        free = t - 1 if np.isfinite(neighbours[t - 1]) else t  # the neighbour is known
        weights = lengths[:free]
        total = weights.sum()
        if total > 0.0:
            shift = (wanted[t] - increments[t, :t].sum()) * weights / total
            increments[t, :free] += shift
            increments[:free, t] += shift


def _correct_anchor(
    increments: Float64, along: Float64, square: float, squares: Float64
) -> tuple[Float64, float]:
    """Correct <w_0, d_t> so that the snapshots have the norms that are known."""
    if np.isfinite(squares[0]):
        square = float(squares[0])
    lengths = np.diagonal(increments)
    before = np.tril(increments, -1).sum(axis=1)  # <w_t - w_0, d_t>
    exact = (np.diff(squares) - lengths) / 2.0 - before
    resolved = np.sqrt(np.maximum(lengths, 0.0)) > _RESOLVED * np.sqrt(max(square, 0.0))
    return np.where(np.isfinite(exact) & resolved, exact, along), square


def _described(products: Anchored, sketch: TensorSketch, tensor: TensorInfo) -> SnapshotGram:
    increments, along, square = products
    return SnapshotGram(
        increments=increments,
        anchor_increments=along,
        anchor_square=square,
        size=tensor.size,
        nonfinite=_counts(sketch.fact("nonfinite")),
        changes=_changes(sketch),
        units=_units(sketch),
    )


def _units(sketch: TensorSketch) -> UnitCounts | None:
    """Return the units counted up to the last snapshot; ``None`` where they were not."""
    counts = [sketch.fact(name)[-1] for name in LATER_FACTS]
    return UnitCounts(*map(int, counts)) if np.isfinite(counts).all() else None


def _changes(sketch: TensorSketch) -> ChangeCounts:
    """Return the counts of the sample; where one is not known, the others' mean."""
    if len(sketch.values) < 2:
        return ChangeCounts.none(len(sketch.values))
    compared = int(np.nanmax(sketch.fact("compared")))
    unchanged = sketch.fact("unchanged")[1:]
    known = np.isfinite(unchanged)
    moved = np.nanmax(sketch.fact("moved"), initial=0.0)
    twins = sketch.fact("twins")[:_EARLY]
    twins = twins[np.isfinite(twins)]
    if not known.any():
        return replace(ChangeCounts.none(len(sketch.values)), compared=0)
    return ChangeCounts(
        unchanged=_counts(np.where(known, unchanged, unchanged[known].mean())),
        still=compared - int(moved),
        compared=compared,
        twins=int(twins[-1]) if len(twins) else 0,
    )


def _counts(values: Float64) -> npt.NDArray[np.int64]:
    return np.nan_to_num(values).astype(np.int64)
