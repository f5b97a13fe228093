"""Print the verdicts' scores next to the baselines: ``python -m tests.verdicts.score``.

Without options it scores the frozen subset in seconds; ``--corpus DIR`` scores every generated run
of the held-out families (``--tuning`` the others).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics import convergence, depth, initialization, stability
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.start import snapshots_of_beginning
from koopscope.diagnostics.statistics.trajectory import course_of
from tests.verdicts import corpus, frozen, measures
from tests.verdicts.corpus import Case


def blind(analysis: Analysis) -> Analysis:
    """Return the same analysis as if no loss had been recorded."""
    description = replace(analysis.description, metrics={})
    return Analysis(description, analysis.grams, analysis.settings)


def stops(cases: Sequence[Case], with_losses: bool) -> measures.StopScore:
    """Score the stop_step that the finding reports."""
    found: dict[str, int | None] = {}
    for case in cases:
        analysis = case.analysis if with_losses else blind(case.analysis)
        step = convergence.ask(analysis).evidence["stop_step"]
        index = np.flatnonzero(analysis.description.steps == step)
        found[case.name] = int(index[0]) if len(index) else None
    return measures.score_stops(cases, found)


def states(cases: Sequence[Case], with_losses: bool) -> tuple[float, float]:
    """Return agreement with what happened, and the share that is inconclusive."""
    said = {}
    for case in cases:
        analysis = case.analysis if with_losses else blind(case.analysis)
        said[case.name] = str(convergence.ask(analysis).evidence["state"])
    return measures.agreement(cases, said)


def restarts(cases: Sequence[Case], with_losses: bool) -> np.ndarray:
    """Return the scores of the beginning; a run that cannot be judged counts in the middle."""
    found = []
    for case in cases:
        analysis = case.analysis if with_losses else blind(case.analysis)
        score = initialization.ask(analysis).evidence["score"]
        found.append(0.5 if score is None else score)
    return np.array(found)


def print_stop_table(cases: Sequence[Case]) -> None:
    chosen = [case for case in cases if measures.counts_for_stop(case)]
    courses = {case.name: course_of(case.analysis) for case in chosen}
    table = scores.table("convergence")
    said = {
        part: {
            name: scores.curve_score(table[part])(course.all()) for name, course in courses.items()
        }
        for part in ("weights", "validation")
    }
    measures.print_stops("Stop, at the savings of each baseline", chosen, courses, said)
    print(f"  reported stop_step, from weights   {stops(chosen, False)}")
    print(f"  reported stop_step, with losses    {stops(chosen, True)}")


def print_state_table(cases: Sequence[Case]) -> None:
    print(f"\nState at the end: {len(cases)} runs")
    for title, with_losses in (("from weights", False), ("with losses", True)):
        right, undecided = states(cases, with_losses)
        print(f"  {title:34s} {right:.1%} right, {undecided:.1%} inconclusive")
    right, _ = measures.agreement(cases, measures.slope_states(cases))
    print(f"  {'slope of the training loss':34s} {right:.1%} right")
    always = measures.agreement(cases, {case.name: "training" for case in cases})[0]
    print(f"  {'always training':34s} {always:.1%} right")


def print_restart_table(cases: Sequence[Case]) -> None:
    bad = np.array([case.truth.bad for case in cases])
    family = np.array([case.family for case in cases])
    clear = np.array([abs(case.truth.learned - 0.5) > 0.15 for case in cases])
    at = {case.name: snapshots_of_beginning(case.outcome["snapshots"]) for case in cases}
    rows = {"from weights": restarts(cases, False), "with losses": restarts(cases, True)}
    rows.update(measures.restart_baselines(cases, at))
    print(f"\nRestart from the beginning: {len(cases)} runs, {bad.mean():.0%} bad (AUROC)")
    print(f"  {'':34s} over all  within families  clear-cut: over all  within")
    for name, score in rows.items():
        values = (
            measures.auroc(score, bad),
            measures.auroc_within(score, bad, family),
            measures.auroc(score[clear], bad[clear]),
            measures.auroc_within(score[clear], bad[clear], family[clear]),
        )
        print("  {:34s} {:8.3f}  {:15.3f}  {:19.3f}  {:6.3f}".format(name, *values))


def print_stability_table(cases: Sequence[Case]) -> None:
    """A rate of thirty times what suits the task that failed should be flagged, others not."""
    groups: dict[str, list[bool]] = {}
    for case in cases:
        recipe = case.outcome["recipe"]
        if recipe["init"] == "default":
            flagged = stability.ask(case.analysis).status in ("warn", "fail")
            rate = "30x the rate" if recipe["rate_factor"] >= 30.0 else "at most 5x"
            groups.setdefault(f"{rate}, {'bad' if case.truth.bad else 'learned'}", []).append(
                flagged
            )
    print("\nStability: share of runs (default inits) that are flagged")
    for name, flags in sorted(groups.items()):
        print(f"  {name:34s} {np.mean(flags):6.1%} of {len(flags)}")


def print_depth_table(folder: Path, tuning: bool) -> None:
    from tests.verdicts.depth_plan import HELD_OUT, TUNING

    rows: dict[str, list[int]] = {}
    labels = []
    for sweep in corpus.load_sweeps(folder, TUNING if tuning else HELD_OUT):
        labels.append(sweep.enough)
        deepest = sweep.analyses[-1]
        alone = depth.ask(deepest).evidence
        built = len(sweep.analyses) - alone["recorded_depth"]
        best = int(np.argmin([np.nanmin(a.description.metrics["loss"]) for a in sweep.analyses]))
        for name, suggested in (
            ("sweep, with losses", depth.sweep(sweep.analyses)["suggested_depth"]),
            (
                "sweep, from weights",
                depth.sweep([blind(a) for a in sweep.analyses])["suggested_depth"],
            ),
            ("deepest run alone", alone["suggested_depth"] + built),
            ("depth of the best training loss", best + 1),
            *((f"always {guess}", guess) for guess in (1, 2, 3, 4)),
        ):
            rows.setdefault(name, []).append(suggested - sweep.enough)
    print(f"\nDepth: {len(labels)} sweeps, enough is {sorted(labels)}")
    for name, off in rows.items():
        near, exact = np.mean(np.abs(off) <= 1), np.mean(np.array(off) == 0)
        print(f"  {name:34s} within one {near:6.1%}   exact {exact:6.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--tuning", action="store_true")
    options = parser.parse_args()
    if options.corpus is None:
        cases = frozen.thaw()
    else:
        from tests.verdicts.plan import HELD_OUT, TUNING

        cases = corpus.load(options.corpus / "runs", TUNING if options.tuning else HELD_OUT)
    print_stop_table(cases)
    print_state_table(cases)
    print_restart_table(cases)
    if options.corpus is not None:
        print_stability_table(cases)
        print_depth_table(options.corpus / "sweeps", options.tuning)


if __name__ == "__main__":
    main()
