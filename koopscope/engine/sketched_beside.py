"""Inner products between the snapshots of two sketched runs, from their sketches alone.

Two runs that were recorded with one seed and one K share their random projection, tensor by tensor,
so the products of their numbers estimate the products of their weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopscope.engine.sampled import MeasuredGrams
from koopscope.engine.sketched import Anchored, products_of, sketch_groups
from koopscope.engine.source import ProgressListener
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, RunDescription, TensorInfo
from koopscope.runs.sketches import FACTS, TensorSketch
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.gram import SnapshotGram

Pairs = Sequence[tuple[TensorInfo, TensorInfo]]


def unlike_sketches(first: RunDescription, second: RunDescription) -> str | None:
    """Return why two runs have no products between them, as a clause; ``None`` where they have.

    Of runs of which one holds weights, the reason is that: a sketch says nothing of weights that
    were not projected alike.
    """
    one, other = first.sketch, second.sketch
    if one is None or other is None:
        return None if one is other else "one of them holds weights and the other a sketch"
    if one.numbers != other.numbers:
        return f"one keeps {one.numbers} numbers a tensor and the other {other.numbers}"
    if one.seed != other.seed:
        return f"one was sketched with seed {one.seed} and the other with seed {other.seed}"
    return None


def sketched_beside(
    first: Run, second: Run, pairs: Pairs, on_progress: ProgressListener | None = None
) -> MeasuredGrams:
    """Return the joint Gram matrix of each pair of tensors, by the first's name.

    Parameters
    ----------
    first, second
        Sketched runs of T and U snapshots.
    pairs
        Tensors of the first and of the second with one name and one shape; tensors that both runs
        kept whole may have different names.

    Returns
    -------
    Matrices of T + U snapshots, the first run's and then the second's, with the eight groups from
    which errors follow. The distance of any two snapshots is an unbiased estimate, squared, with a
    standard error of at most sqrt(2/K + 2/32768) of it: 0 where the weights are the same. Facts
    that a run keeps of its own snapshots alone are not used, as they would spoil this; take each
    run's own matrix from ``sketched_grams``. Entries that are not finite are counted.

    Raises
    ------
    KoopscopeError
        If the runs were not sketched alike, or a pair's tensors were not.
    """
    why = unlike_sketches(first.description, second.description)
    if why is None and first.description.sketch is None:
        why = "they hold weights"
    if why is not None:
        raise KoopscopeError(
            f"{first.description.path} and {second.description.path} have no sketches that can "
            f"be held beside each other: {why}",
            "record both with the same sketch= and sketch_seed=",
        )
    before, after = first.description.snapshots, second.description.snapshots
    grams = MeasuredGrams(before + after, counted_alike=True)
    for one, other in pairs:
        sketches = first.sketched(one), second.sketched(other)
        _refuse_unlike(one, other, *sketches)
        beside = _beside(*sketches)
        if beside.whole:
            grams.put(one, _gram(products_of(beside.values), beside, one))
        else:
            grams.put(one, [_gram(group, beside, one) for group in sketch_groups(beside)])
        if on_progress is not None:
            on_progress(first.volume([one]) + second.volume([other]))
    grams.weights_read = grams.weights
    return grams


def _refuse_unlike(
    one: TensorInfo, other: TensorInfo, sketch: TensorSketch, second: TensorSketch
) -> None:
    both_whole = sketch.whole and second.whole
    if one.shape == other.shape and (one.name == other.name or both_whole):
        return
    raise KoopscopeError(
        f"the sketches of {one.name} {one.shape} and {other.name} {other.shape} cannot be held "
        "beside each other: a tensor's projection goes by its name and its size",
        "compare runs whose tensors have the same names and shapes",
    )


def _beside(first: TensorSketch, second: TensorSketch) -> TensorSketch:
    """Return one sketch of both runs' snapshots, of whose facts only the counts are known."""
    values = np.concatenate([first.values, second.values])
    facts = np.full((len(values), len(FACTS)), np.nan)
    counts = np.concatenate([first.fact("nonfinite"), second.fact("nonfinite")])
    facts[:, FACTS.index("nonfinite")] = counts
    return TensorSketch(values, facts, first.whole and second.whole, 0.0)


def _gram(products: Anchored, sketch: TensorSketch, tensor: TensorInfo) -> SnapshotGram:
    increments, along, square = products
    return SnapshotGram(
        increments=increments,
        anchor_increments=along,
        anchor_square=square,
        size=tensor.size,
        nonfinite=np.nan_to_num(sketch.fact("nonfinite")).astype(np.int64),
        changes=ChangeCounts.none(len(sketch.values)),
    )
