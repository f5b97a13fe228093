"""What decides between two sides, and what a reader has to know of it, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from koopscope.comparison.alignment import Alignment
from koopscope.comparison.distances import usual_distances
from koopscope.comparison.parting import Parting
from koopscope.comparison.permutation import PermutationTest
from koopscope.comparison.subjects import Subject, Subjects
from koopscope.comparison.timeline import Timeline
from koopscope.comparison.verdicts import (
    FEWEST_REPEATS,
    LEVEL,
    Rule,
    Score,
    Verdict,
    group_verdict,
    score_of_groups,
    score_of_pair,
)

Decision = tuple[Verdict, Rule, str]


def decided(
    known: Subjects,
    size: int,
    parted: Parting | None,
    test: PermutationTest | None,
    score: Score,
    log_distance: float,
) -> Decision:
    """Return the verdict on two sides, what it rests on, and a sentence with its number.

    Parameters
    ----------
    known
        The runs, the first ``size`` of one side.
    log_distance
        Mean logarithm of the distance between runs of the two sides.
    """
    broken = _one_side_breaks(known.runs, size)
    if broken:
        return "different", "breaks", broken
    if parted is not None and known.are_alike and parted.is_within_rounding:
        equal = parted.first_unequal_step is None
        how = "are the same numbers" if equal else "differ by rounding"
        once = _once_aligned(known.beside.alignment if known.beside else None)
        return "same", "weights", f"The weights {how} at every snapshot that was compared{once}."
    apart = f"{usual_distances(log_distance):.2f} times what another seed usually makes"
    if test is not None:
        return _by_groups(test, score, apart)
    verdict = score.verdict
    shares = (
        f"{_percent(score.same_beyond)} of pairs of seeds of one recipe are as far apart, and "
        f"{_percent(score.different_within)} of pairs of two recipes as near"
    )
    words = {
        "different": f"The runs are {apart} apart: {shares}.",
        "same": f"The runs are {apart} apart: {shares}.",
        "inconclusive": f"The runs are {apart} apart, which seeds alone can do: {shares}.",
    }
    return verdict, "yardstick", words[verdict]


def _once_aligned(alignment: Alignment | None) -> str:
    """Say what had to be done to the second run's units for the weights to be the same."""
    if alignment is None or not (alignment.moved or alignment.rescaled):
        return ""
    what = " and ".join(
        word for word, count in (("order", alignment.moved), ("scale", alignment.rescaled)) if count
    )
    said = f", once the second run's hidden units are put in the first run's {what}"
    if alignment.rescaled:
        said += ": with ReLU or the like that is the same function"
    return said


def _by_groups(test: PermutationTest, score: Score, apart: str) -> Decision:
    verdict = group_verdict(test, score)
    assigned = "all" if test.is_exact else "random"
    said = f"p = {test.p_value:.3g} over {assigned} {test.assignments:,} assignments of the labels"
    if verdict == "different" and test.p_value > LEVEL:
        return (
            verdict,
            "permutation",
            f"The groups are as separate as {test.assignments} assignments can show ({said}), and "
            f"more so than {_percent(1.0 - score.same_beyond)} of groups of one recipe.",
        )
    words = {
        "different": f"The groups differ by more than their own seeds do: {said}.",
        "same": f"The groups differ no more than their own seeds do: {said}; only "
        f"{_percent(score.different_within)} of groups of two recipes are as near.",
        "inconclusive": f"The groups are {apart} apart and not told apart: {said}.",
    }
    return verdict, "permutation", words[verdict]


def _one_side_breaks(runs: tuple[Subject, ...], size: int) -> str:
    """Say that all runs of one side have weights that are not finite, and none of the other."""
    first, second = runs[:size], runs[size:]
    for broken, whole in ((first, second), (second, first)):
        steps = [run.breaks_at_step for run in broken]
        reached = [_last_step(run) for run in whole]
        if all(step is not None for step in steps) and all(
            run.breaks_at_step is None for run in whole
        ):
            latest = max(step for step in steps if step is not None)
            if min(reached) >= latest:
                path = broken[0].description.path
                return (
                    f"{path} holds weights that are not finite from step {latest:,} on, and the "
                    "other side does not."
                )
    return ""


def _last_step(run: Subject) -> int:
    return int(run.description.steps[-1])


def _percent(share: float) -> str:
    if 0.0 < share < 0.01:
        return "less than 1%"
    return f"{share:.0%}"


def notes(known: Subjects, when: Timeline, size: int) -> list[str]:
    """Return what a reader has to know: how runs were matched, and what was left out."""
    found = [pairing.note for pairing in known.pairings if pairing.note]
    found += known.remarks or _kinds(known)
    if when.way == "progress":
        found.append(
            "the runs were recorded at other steps, so they were aligned by progress: a run of "
            "another length or pace counts as the same if it does the same on the way"
        )
    for run in known.runs:
        step = run.breaks_at_step
        if step is not None:
            found.append(
                f"{run.description.path} holds weights that are not finite from step {step:,} on; "
                f"what comes before is compared"
            )
    if known.beside is not None and known.are_alike and not known.remarks:
        found += _about_units(known.beside.alignment, _starts_together(known))
    several = min(size, len(known.runs) - size)
    if len(known.runs) > 2 and several < FEWEST_REPEATS:
        found.append(
            f"a permutation test takes at least {FEWEST_REPEATS} runs a side: the yardstick's "
            "seeds decide"
        )
    dtypes = sorted({run.description.dtype for run in known.runs})
    if len(dtypes) > 1:
        found.append(
            f"the weights are stored as {' and '.join(dtypes)}: the coarser rounding is part of "
            "the motion that is compared"
        )
    return list(dict.fromkeys(found))


def _kinds(known: Subjects) -> tuple[str, ...]:
    """Say that some of several runs hold sketches."""
    sketched = [run for run in known.runs if run.description.sketch is not None]
    if not sketched:
        return ()
    return (
        f"{len(sketched)} of the {len(known.runs)} runs hold sketches: what these make uncertain "
        "widens the interval of the distance",
    )


def unless_sketch_decides(
    verdict: Verdict,
    reason: str,
    told: tuple[float, float],
    between: float,
    score: Score,
    level: str,
    test: PermutationTest | None,
) -> tuple[Verdict, str]:
    """Return the verdict, or that a sketch decides where the ends of its interval disagree.

    Parameters
    ----------
    told
        The 90% interval of the logarithm of the distance that sketches leave.
    between
        The logarithm of the distance.
    """
    ends = []
    for end in told:
        if test is None:
            ends.append(score_of_pair(end, level).verdict)
        else:  # the contrast moves with the distance between the groups
            moved = score_of_groups(test.contrast + end - between, level)
            ends.append(group_verdict(test, moved))
    if verdict == "inconclusive" or set(ends) <= {verdict}:
        return verdict, reason
    low, high = (usual_distances(end) for end in told)
    return "inconclusive", (
        f"The sketches leave the distance between {low:.2f} and {high:.2f} times what another seed "
        "usually makes, and the verdict is not the same at both ends: record more numbers a tensor."
    )


def _about_units(alignment: Alignment | None, start_together: bool) -> list[str]:
    """Return what was done about the order of hidden units, and where it could not be."""
    found = []
    layers = alignment.layers if alignment is not None else ()
    if alignment is not None and alignment.moved:
        names = _some([layer.name for layer in layers if layer.moved])
        found.append(
            f"hidden units were aligned before weights were held against weights: "
            f"{alignment.moved:,} of {alignment.units:,} units moved, in {names}"
        )
    if alignment is not None and alignment.rescaled:
        found.append(
            f"{alignment.rescaled:,} hidden units have another scale in the second run, by one "
            "factor for all snapshots; it was taken off"
        )
    if start_together or (alignment is not None and alignment.are_copies):
        return found
    if layers:
        found.append(
            "the runs do not start from the same weights: hidden units were matched by what leads "
            "into them and out of them, which is the nearest order and a guess; the verdict does "
            "not rest on it"
        )
    fixed = dict(alignment.fixed) if alignment is not None else {}
    if fixed:
        reasons = {
            why: _some([name for name, other in fixed.items() if other == why])
            for why in dict.fromkeys(fixed.values())
        }
        said = "; ".join(f"{names} ({why})" for why, names in reasons.items())
        found.append(f"the outputs of these layers were not aligned: {said}")
    elif not layers:
        found.append(
            "the runs do not start from the same weights, so hidden units of one need not be those "
            "of the other: distances and angles between weights say nothing about the function; "
            "the verdict does not rest on them"
        )
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _starts_together(known: Subjects) -> bool:
    assert known.beside is not None
    return all(
        each.squares[0] == 0.0 for each in known.beside.differences.values() if len(each.squares)
    )
