"""What decides between two sides, and what a reader has to know of it, in sentences."""

from __future__ import annotations

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
        return "same", "weights", f"The weights {how} at every snapshot that was compared."
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
    if known.beside is not None and known.are_alike and not _starts_together(known):
        found.append(
            "the runs do not start from the same weights, so hidden units of one need not be those "
            "of the other: distances and angles between weights say nothing about the function; "
            "the verdict does not rest on them"
        )
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


def _starts_together(known: Subjects) -> bool:
    assert known.beside is not None
    return all(
        each.squares[0] == 0.0 for each in known.beside.differences.values() if len(each.squares)
    )
