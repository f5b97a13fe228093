"""Print the verdicts' scores next to the baselines: ``python -m studies.score``.

Without options it scores the frozen subset in seconds; ``--corpus DIR`` scores every generated run
of the held-out families (``--tuning`` the others).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics import convergence, depth, initialization, stability
from koopscope.diagnostics.statistics.start import snapshots_of_beginning
from studies import corpus, frozen, measures
from studies.corpus import Case
from studies.decisions import print_decisions
from studies.measures import validation

_SEEN = {
    "weights": (),
    "training": ("loss",),
    "validation": ("val_loss",),
    "losses": ("loss", "val_loss"),
    "weights, rate": ("lr",),
    "losses, rate": ("loss", "val_loss", "lr"),
}


def seen(analysis: Analysis, edition: str) -> Analysis:
    """Return the same analysis as if only the losses of an edition had been recorded."""
    metrics = analysis.description.metrics
    kept = {name: metrics[name] for name in _SEEN[edition] if name in metrics}
    return Analysis(replace(analysis.description, metrics=kept), analysis.grams, analysis.settings)


def blind(analysis: Analysis) -> Analysis:
    """Return the same analysis as if no loss had been recorded."""
    return seen(analysis, "weights")


@dataclass(frozen=True)
class Said:
    """What the findings say of one run, and what their scores are made of.

    Attributes
    ----------
    state
        The state at the end.
    stop
        The snapshot of the window at which it could have stopped, or ``None``.
    score, allowed
        Of the stop rule, by snapshot.
    low, high
        The interval of the improvement ahead, by snapshot.
    restart
        Score of the beginning; one half where it cannot be judged.
    restart_state
        What the beginning is called.
    """

    state: str
    stop: int | None
    score: np.ndarray
    allowed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    restart: float
    restart_state: str | None


def ask(analysis: Analysis) -> Said:
    """Ask both verdicts."""
    found = convergence.ask(analysis).evidence
    begun = initialization.ask(analysis).evidence
    count = analysis.window.snapshots
    parts = {name: np.full(count, fill) for name, fill in _NOTHING.items()}
    stop = None
    history = found["stop_history"]
    for offset, point in enumerate(history):
        t = count - len(history) + offset
        parts["score"][t], parts["allowed"][t] = point["score"], point["allowed"]
        parts["low"][t], parts["high"][t] = point["interval"]
        if point["step"] == found["stop_step"]:
            stop = t
    score = begun["score"]
    return Said(
        state=found["state"],
        stop=stop,
        restart=0.5 if score is None else score,
        restart_state=begun["state"],
        **parts,
    )


_NOTHING = {"score": np.inf, "allowed": False, "low": np.nan, "high": np.nan}

Verdicts = Mapping[str, Mapping[str, Said]]


def ask_all(cases: Sequence[Case]) -> Verdicts:
    """Return, by edition and run, what is said."""
    return {
        edition: {case.name: ask(seen(case.analysis, edition)) for case in cases}
        for edition in _SEEN
    }


def stops(cases: Sequence[Case], said: Mapping[str, Said]) -> measures.StopScore:
    """Score the stop that the finding reports."""
    return measures.score_stops(cases, {case.name: said[case.name].stop for case in cases})


def states(cases: Sequence[Case], said: Mapping[str, Said]) -> tuple[float, float]:
    """Return agreement with what happened, and the share that is inconclusive."""
    return measures.agreement(cases, {case.name: said[case.name].state for case in cases})


def restarts(cases: Sequence[Case], said: Mapping[str, Said]) -> np.ndarray:
    """Return the scores of the beginnings."""
    return np.array([said[case.name].restart for case in cases])


def print_stop_table(cases: Sequence[Case], verdicts: Verdicts) -> None:
    chosen = [case for case in cases if measures.counts_for_stop(case)]
    print(f"\nStop, at the savings of each baseline: {len(chosen)} runs")
    curves = {
        edition: measures.frontier(
            chosen,
            {case.name: said[case.name].score for case in chosen},
            {case.name: said[case.name].allowed for case in chosen},
        )
        for edition, said in verdicts.items()
    }
    for name, baseline in measures.stop_baselines(chosen).items():
        print(f"  {name:34s} {baseline}")
        if name != "never stop":
            for edition, curve in curves.items():
                threshold, point = measures.at_savings(curve, baseline.saved)
                print(f"    {edition:14s} below {threshold:7.3f}       {point}")
    for edition, said in verdicts.items():
        print(f"  reported stop_step, {edition:14s} {stops(chosen, said)}")
    for edition, said in verdicts.items():
        print(f"  intervals, {edition:14s} {_covered(chosen, said):.1%} of the 90% ones hold")


def _covered(cases: Sequence[Case], said: Mapping[str, Said]) -> float:
    """Return how often the interval of the improvement ahead holds it; runs count alike."""
    shares = []
    for case in cases:
        val, each = validation(case), said[case.name]
        ahead = np.minimum.accumulate(val) - np.minimum.accumulate(val[::-1])[::-1]
        ahead = np.maximum(ahead, 0.0) / (val[0] - val.min())
        known = np.isfinite(each.low)
        known[-1] = False  # nothing can be ahead at the end of the record
        if known.any():
            inside = (ahead >= each.low - 1e-9) & (ahead <= each.high + 1e-9)
            shares.append(inside[known].mean())
    return float(np.mean(shares))


def print_state_table(cases: Sequence[Case], verdicts: Verdicts) -> None:
    clear = [case for case in cases if not case.truth.state_unclear]
    print(f"\nState at the end: {len(clear)} clear runs, and all {len(cases)}")
    rows = {edition: {n: s.state for n, s in said.items()} for edition, said in verdicts.items()}
    rows["slope of the training loss"] = measures.slope_states(cases)
    rows["always training"] = {case.name: "training" for case in cases}
    for title, said in rows.items():
        (right, undecided), (of_all, _) = (
            measures.agreement(some, said) for some in (clear, cases)
        )
        print(f"  {title:34s} {right:.1%} right, {undecided:.1%} inconclusive; all {of_all:.1%}")


def print_restart_table(cases: Sequence[Case], verdicts: Verdicts) -> None:
    bad = np.array([case.truth.bad for case in cases])
    family = np.array([case.family for case in cases])
    clear = np.array([not case.truth.bad_unclear for case in cases])
    at = {case.name: snapshots_of_beginning(case.analysis.description.snapshots) for case in cases}
    rows = {edition: restarts(cases, said) for edition, said in verdicts.items()}
    rows.update(measures.restart_baselines(cases, at))
    print(f"\nRestart from the beginning: {len(cases)} runs, {bad.mean():.0%} bad (AUROC)")
    print(f"  {'':34s} clear runs: over all  within families  all runs: over all  within")
    for name, score in rows.items():
        values = (
            measures.auroc(score[clear], bad[clear]),
            measures.auroc_within(score[clear], bad[clear], family[clear]),
            measures.auroc(score, bad),
            measures.auroc_within(score, bad, family),
        )
        print("  {:34s} {:20.3f}  {:15.3f}  {:18.3f}  {:6.3f}".format(name, *values))
    for edition in ("weights", "losses"):
        for called in ("bad", "suspect", "healthy"):
            named = [case for case in cases if verdicts[edition][case.name].restart_state == called]
            wrong = sum(case.truth.bad for case in named)
            print(f"  called {called:8s} by {edition:8s} {wrong} of {len(named)} were bad")
    print("  calibration (losses): predicted, observed")
    score = rows["losses"]
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.75), (0.75, 0.9), (0.9, 1.01)):
        inside = (score >= low) & (score < high)
        if inside.any():
            print(f"    {score[inside].mean():.2f}  {bad[inside].mean():.2f}  of {inside.sum()}")


#: How runs are told apart in the law of scale.
GROUPS: dict[str, Callable[[Case], str]] = {
    "weights": lambda case: f"10^{int(np.log10(_size(case)))}",
    "snapshots": lambda case: f"{_band(case.analysis.window.snapshots, (25, 45, 65, 90))}",
    "dtype": lambda case: str(case.recipe["dtype"]),
    "schedule": lambda case: str(case.recipe["schedule"]),
    "steps a snapshot": lambda case: "1" if case.analysis.window.spacing_steps == 1 else "more",
    "recorded loss": lambda case: str(case.recipe["recorded"]),
}


def _size(case: Case) -> int:
    return sum(tensor.size for tensor in case.analysis.tensors)


def _band(value: int, edges: Sequence[int]) -> str:
    above = [edge for edge in edges if value > edge]
    return f"above {above[-1]:3d}" if above else "at most 25"


def print_scale_table(cases: Sequence[Case], verdicts: Verdicts) -> None:
    """Print the scores by size, length, precision and schedule."""
    print("\nBy kind of run: state (weights, losses), restart AUROC (both), stop p90 (losses)")
    for title, group in GROUPS.items():
        for kind in sorted({group(case) for case in cases}):
            some = [case for case in cases if group(case) == kind]
            clear = [case for case in some if not case.truth.state_unclear]
            bad = np.array([case.truth.bad for case in some])
            learned = [case for case in some if measures.counts_for_stop(case)]
            if len(clear) < 8 or not 0 < bad.sum() < len(bad) or len(learned) < 5:
                continue
            parts = [f"{states(clear, verdicts[e])[0]:.1%}" for e in ("weights", "losses")]
            parts += [
                f"{measures.auroc(restarts(some, verdicts[e]), bad):.3f}"
                for e in ("weights", "losses")
            ]
            parts.append(f"{stops(learned, verdicts['losses']).p90:.3f}")
            print(f"  {title:18s} {kind:14s} {len(some):4d} runs  {'  '.join(parts)}")


def print_stability_table(cases: Sequence[Case]) -> None:
    """A rate of thirty times what suits the task that failed should be flagged, others not."""
    groups: dict[str, list[bool]] = {}
    for case in cases:
        if case.recipe["start"] == "default":
            flagged = stability.ask(case.analysis).status in ("warn", "fail")
            rate = "30x the rate" if case.recipe["rate_factor"] >= 30.0 else "at most 5x"
            groups.setdefault(f"{rate}, {'bad' if case.truth.bad else 'learned'}", []).append(
                flagged
            )
    print("\nStability: share of runs (default starts) that are flagged")
    for name, flags in sorted(groups.items()):
        print(f"  {name:34s} {np.mean(flags):6.1%} of {len(flags)}")


def print_depth_table(folder: Path, tuning: bool) -> None:
    from studies.depth_plan import HELD_OUT, TUNING

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
    parser.add_argument(
        "--added", choices=["only", "not"], help="the families that were added last, or the others"
    )
    options = parser.parse_args()
    if options.corpus is None:
        cases = corpus.thaw(frozen.FROZEN)
    else:
        from studies.yardstick.plan import ADDED, HELD_OUT, TUNING

        families = set(TUNING if options.tuning else HELD_OUT)
        if options.added is not None:
            families = families & set(ADDED) if options.added == "only" else families - set(ADDED)
        cases = corpus.load(options.corpus / "runs", families)
    print(f"{len(cases)} runs of {len({case.family for case in cases})} families")
    verdicts = ask_all(cases)
    print_stop_table(cases, verdicts)
    print_state_table(cases, verdicts)
    print_restart_table(cases, verdicts)
    print_decisions(
        cases,
        {
            edition: {name: each.restart for name, each in verdicts[edition].items()}
            for edition in ("weights", "losses")
        },
    )
    if options.corpus is not None and options.added != "only":
        print_scale_table(cases, verdicts)
        print_stability_table(cases)
        if (options.corpus / "sweeps").exists():
            print_depth_table(options.corpus / "sweeps", options.tuning)


if __name__ == "__main__":
    main()
