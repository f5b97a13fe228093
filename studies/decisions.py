"""Restarting as a decision inside sweeps: which runs of a family to give up after a tenth.

A sweep is the runs of one family on clean data. Each way to decide gives some of them up; what
counts is how much worse the best of the kept ones ends than the best of all, as a share of what
there is to learn, and which share of the sweep's budget is saved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from koopscope.diagnostics.statistics.start import snapshots_of_beginning
from studies.corpus import Case

#: Sweeps of fewer runs are left out.
LEAST_RUNS = 5


@dataclass(frozen=True)
class Outcome:
    """Regret and saved budget, means over the sweeps."""

    regret: float
    saved: float
    sweeps: int

    def __str__(self) -> str:
        return f"regret {self.regret:.4f}  saved {self.saved:5.1%}  over {self.sweeps} sweeps"


def sweeps_of(cases: Sequence[Case]) -> list[list[Case]]:
    """Return the sweeps among the runs."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        window = case.analysis.window
        if case.recipe["variant"] == "clean" and window.first == 0 and window.snapshots > 2:
            found[case.family].append(case)
    return [sweep for sweep in found.values() if len(sweep) >= LEAST_RUNS]


def _final(case: Case) -> float:
    return case.truth.best_val


def _cost(case: Case) -> float:
    return float(case.outcome["steps"][case.outcome["snapshots"] - 1])


def _share_spent(case: Case, snapshots: int) -> float:
    return min(1.0, (snapshots - 1) / max(1, case.outcome["snapshots"] - 1))


def outcome(sweeps: Sequence[Sequence[Case]], spent: Sequence[Mapping[str, float]]) -> Outcome:
    """Return what it comes to if each run is trained for the share of its budget in ``spent``.

    A run that is not trained to its end is given up.
    """
    regrets, saved = [], []
    for sweep, shares in zip(sweeps, spent, strict=True):
        kept = [case for case in sweep if shares[case.name] >= 1.0]
        best = min(_final(case) for case in sweep)
        room = max(sweep[0].outcome["chance"][1], best) - best or 1.0
        reached = min((_final(case) for case in kept), default=sweep[0].outcome["chance"][1])
        regrets.append(min(1.0, (reached - best) / room))
        costs = np.array([_cost(case) for case in sweep])
        used = np.array([_cost(case) * shares[case.name] for case in sweep])
        saved.append(1.0 - used.sum() / costs.sum())
    return Outcome(float(np.mean(regrets)), float(np.mean(saved)), len(sweeps))


def by_score(sweep: Sequence[Case], score: Mapping[str, float], above: float) -> dict[str, float]:
    """Give up after the beginning whoever scores above a limit."""
    return {case.name: _tenth(case) if score[case.name] >= above else 1.0 for case in sweep}


def _tenth(case: Case) -> float:
    return _share_spent(case, snapshots_of_beginning(case.analysis.description.snapshots))


def by_loss(sweep: Sequence[Case], given_up: int, *, first: bool) -> dict[str, float]:
    """Give up as many runs as asked: those of the largest loss after a snapshot, or a tenth."""
    at = {
        case.name: 2 if first else snapshots_of_beginning(case.analysis.description.snapshots)
        for case in sweep
    }
    order = sorted(sweep, key=lambda case: _loss_at(case, at[case.name]))
    kept = {case.name for case in order[: len(order) - given_up]}
    return {
        case.name: 1.0 if case.name in kept else _share_spent(case, at[case.name]) for case in sweep
    }


def _loss_at(case: Case, snapshots: int) -> float:
    val = case.truth.val_loss
    return float(val[min(snapshots, len(val)) - 1])


def by_halving(sweep: Sequence[Case]) -> dict[str, float]:
    """Keep the better half after a tenth, and of those after a third (successive halving)."""
    spent = {case.name: 1.0 for case in sweep}
    left = list(sweep)
    for share in (0.1, 0.33):
        at = {case.name: 1 + int(share * (case.outcome["snapshots"] - 1)) for case in left}
        left.sort(key=lambda case: _loss_at(case, at[case.name]))
        keep = (len(left) + 1) // 2
        for case in left[keep:]:
            spent[case.name] = _share_spent(case, at[case.name])
        left = left[:keep]
    return spent


def print_decisions(
    cases: Sequence[Case], scores: Mapping[str, Mapping[str, float]], limit: float = 0.5
) -> None:
    """Print every way to decide; the losses give up as many runs as the score does."""
    sweeps = sweeps_of(cases)
    print(f"\nRestart as a decision inside {len(sweeps)} sweeps of {sum(map(len, sweeps))} runs")
    for edition, score in scores.items():
        ours = [by_score(sweep, score, limit) for sweep in sweeps]
        print(f"  {'score from ' + edition:40s} {outcome(sweeps, ours)}")
        given_up = [sum(share < 1.0 for share in spent.values()) for spent in ours]
        for first, title in ((True, "one snapshot"), (False, "a tenth")):
            theirs = [
                by_loss(sweep, count, first=first)
                for sweep, count in zip(sweeps, given_up, strict=True)
            ]
            print(f"  {'  as many by the loss after ' + title:40s} {outcome(sweeps, theirs)}")
    halved = [by_halving(sweep) for sweep in sweeps]
    print(f"  {'successive halving':40s} {outcome(sweeps, halved)}")
