"""Runs that hold sketches in place of weights: what two of them tell of each other, and how surely.

Sketches of one seed and one size are random sums over the same weights, so the products of one
run's with the other's estimate those of their weights. Other sketches have nothing in common:
spectra, laws and courses are compared, and weights are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from koopscope.comparison.pairing import Pairing
from koopscope.comparison.subjects import Beside, Subjects
from koopscope.comparison.timeline import Timeline
from koopscope.engine.sampled import MeasuredGrams
from koopscope.engine.sketched import joint_grams
from koopscope.runs.run import Run
from koopscope.runs.sketches import TensorSketch
from koopscope.runs.views.side_by_side import TensorDifference
from koopscope.spectra.measured import GROUPS, jackknife_error

#: Standard errors to either side of a 90% interval.
_NORMAL = 1.6448536269514722


def remark(first: Run, second: Run, pairing: Pairing) -> str:
    """Return what sketches of two runs allow, in a sentence; nothing where both hold weights."""
    one, other = first.description.sketch, second.description.sketch
    if one is None and other is None:
        return ""
    if one is None or other is None:
        sketched = second if one is None else first
        info = sketched.description.sketch
        assert info is not None
        return (
            f"{sketched.description.path} holds sketches and the other run weights, so weights are "
            "not compared with weights; sketch the other alike first: koopscope convert RUN "
            f"--sketch {info.numbers} -o SKETCHED.h5"
        )
    if (one.numbers, one.seed) != (other.numbers, other.seed):
        return (
            f"the runs hold sketches of {one.numbers} numbers with seed {one.seed} and of "
            f"{other.numbers} with seed {other.seed}, which have no number in common: spectra, "
            "laws and courses are compared, and weights are not"
        )
    if any(a.name != b.name for a, b in pairing.pairs):
        return (
            "tensors of other names are sketched by other random numbers: spectra, laws and "
            "courses are compared, and weights are not"
        )
    return (
        f"weights are compared by sketches of {one.numbers} numbers a tensor, seed {one.seed}: "
        "their distances and angles are estimates, and hidden units cannot be aligned"
    )


def are_of_one_kind(first: Run, second: Run, pairing: Pairing) -> bool:
    """Whether the sketches of two runs are sums over the same weights."""
    one, other = first.description.sketch, second.description.sketch
    if one is None or other is None or (one.numbers, one.seed) != (other.numbers, other.seed):
        return False
    return bool(pairing.pairs) and all(a.name == b.name for a, b in pairing.pairs)


def sketched_beside(first: Run, second: Run, pairing: Pairing, when: Timeline) -> Beside:
    """Hold the sketches of two runs against each other."""
    joint = MeasuredGrams(
        first.description.snapshots + second.description.snapshots, counted_alike=True
    )
    differences = {}
    for one, other in pairing.pairs:
        sketches = first.sketched(one), second.sketched(other)
        joint.put(one, joint_grams(sketches, one))
        differences[one.name] = _difference(*sketches, when, one.size)
    return Beside(pairing, joint, differences, when)


def _difference(
    one: TensorSketch, other: TensorSketch, when: Timeline, size: int
) -> TensorDifference:
    """Estimate the squared distance at each pair of snapshots, and the share of other numbers."""
    rows, columns = when.indices
    off = one.values[rows] - other.values[columns]
    squares = np.square(off).sum(axis=1)
    unequal = np.rint(size * (off != 0.0).mean(axis=1)).astype(np.int64)
    bad = one.fact("nonfinite")[rows], other.fact("nonfinite")[columns]
    squares[(bad[0] > 0.0) != (bad[1] > 0.0)] = np.nan
    unequal = np.maximum(unequal, (bad[0] != bad[1]).astype(np.int64))
    return TensorDifference(squares, unequal)


def interval(known: Subjects, statistic: Callable[[Subjects], float]) -> tuple[float, float] | None:
    """Return the 90% interval that sketches leave of a statistic; ``None`` where nothing is.

    The jackknife over the eight groups of a sketch's numbers, widened by its estimate of the bias:
    noise puts runs farther apart than they are.
    """
    if not any(_is_estimate(run.grams) for run in known.runs):
        return None
    value = statistic(known)
    replicates = np.array([statistic(_without(known, group)) for group in range(GROUPS)])
    error = _NORMAL * float(jackknife_error(replicates))
    bias = (GROUPS - 1) * (float(replicates.mean()) - value)
    low, high = value - error - max(bias, 0.0), value + error - min(bias, 0.0)
    return low, high


def _is_estimate(grams: object) -> bool:
    return isinstance(grams, MeasuredGrams) and not grams.is_exact()


def _without(known: Subjects, group: int) -> Subjects:
    runs = tuple(
        replace(run, grams=run.grams.without(group))
        if isinstance(run.grams, MeasuredGrams)
        else run
        for run in known.runs
    )
    return replace(known, runs=runs, beside=None)
