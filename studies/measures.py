"""How good a verdict is, next to the baselines that a sceptic would name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from koopscope.diagnostics.statistics.end_state import State, diverged, named_state
from koopscope.diagnostics.statistics.stopping import may_stop
from studies.corpus import Case, recorded_loss
from studies.rows import Rows

#: A stop this much above the best validation loss, on a run that was still improving, is false.
FALSE_EXCESS = 0.2


def validation(case: Case) -> np.ndarray:
    """Return the validation loss inside the window."""
    window = case.analysis.window
    return case.truth.val_loss[window.first : window.stop]


def counts_for_stop(case: Case) -> bool:
    """Excess validation loss means something where the run learned and generalized."""
    val = validation(case)
    usable = len(val) > 2 and np.isfinite(val).all() and val[0] > val.min()
    return bool(usable) and not case.truth.bad and case.truth.generalized


@dataclass(frozen=True)
class StopScore:
    """Excess validation loss at the stop against the budget that was saved."""

    median: float
    p90: float
    saved: float
    false: int
    runs: int

    def __str__(self) -> str:
        return (
            f"median {self.median:.4f}  p90 {self.p90:.3f}  saved {self.saved:5.1%}  "
            f"false {self.false} of {self.runs}"
        )


def score_stops(cases: Sequence[Case], stops: Mapping[str, int | None]) -> StopScore:
    """Score one stop per run; a run that was not stopped ran to its end."""
    excess, saved, false = [], [], 0
    for case in cases:
        val = validation(case)
        stop = stops[case.name]
        stop = len(val) - 1 if stop is None else stop
        scale = val[0] - val.min()
        excess.append(min(float((val[stop] - val.min()) / scale), 10.0))
        saved.append(1.0 - stop / (len(val) - 1))
        still = float((val[stop] - val[stop:].min()) / scale)
        false += excess[-1] > FALSE_EXCESS and still > FALSE_EXCESS
    return StopScore(
        float(np.median(excess)),
        float(np.quantile(excess, 0.9)),
        float(np.mean(saved)),
        int(false),
        len(cases),
    )


def patience(losses: np.ndarray, snapshots: int) -> int | None:
    """Return where the least loss so far has not been bettered for so many snapshots."""
    best, since = np.inf, 0
    for t, loss in enumerate(losses):
        best, since = (loss, 0) if loss < best else (best, since + 1)
        if since >= snapshots:
            return t
    return None


def stop_baselines(cases: Sequence[Case]) -> dict[str, StopScore]:
    found = {"never stop": score_stops(cases, {case.name: None for case in cases})}
    for key, title in (("val_loss", "validation"), ("loss", "training-loss")):
        for snapshots in (5, 10):
            stops = {case.name: patience(recorded_loss(case, key), snapshots) for case in cases}
            found[f"{title} patience {snapshots}"] = score_stops(cases, stops)
    return found


def first_below(score: np.ndarray, threshold: float, allowed: np.ndarray) -> int | None:
    below = np.flatnonzero((score < threshold) & allowed)
    return int(below[0]) if len(below) else None


def frontier(
    cases: Sequence[Case], score: Mapping[str, np.ndarray], allowed: Mapping[str, np.ndarray]
) -> list[tuple[float, StopScore]]:
    """Score a rule at many thresholds."""
    pooled = np.concatenate([values[np.isfinite(values)] for values in score.values()])
    found = []
    for threshold in np.quantile(pooled, np.linspace(0.004, 0.8, 120)):
        stops = {
            case.name: first_below(score[case.name], threshold, allowed[case.name])
            for case in cases
        }
        found.append((float(threshold), score_stops(cases, stops)))
    return found


def at_savings(curve: Sequence[tuple[float, StopScore]], saved: float) -> tuple[float, StopScore]:
    """Return the point that saves as much as asked and the least more; else the most there is."""
    enough = [point for point in curve if point[1].saved >= saved]
    if not enough:
        return max(curve, key=lambda point: point[1].saved)
    return min(enough, key=lambda point: point[1].saved)


def by_run(rows: Rows, score: np.ndarray, cases: Sequence[Case]) -> dict[str, np.ndarray]:
    """Return, by run, the scores of its snapshots; infinite where there is none."""
    names, at = np.array(rows.names), np.array(rows.at)
    found = {}
    for case in cases:
        values = np.full(case.analysis.window.snapshots, np.inf)
        own = names == case.name
        values[at[own]] = score[own]
        found[case.name] = values
    return found


def print_stops(
    title: str,
    cases: Sequence[Case],
    said: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Print each edition at the savings of each baseline."""
    print(f"\n{title}: {len(cases)} runs")
    curves = {}
    for edition, score in said.items():
        allowed = {name: may_stop(len(values)) for name, values in score.items()}
        curves[edition] = frontier(cases, score, allowed)
    for name, baseline in stop_baselines(cases).items():
        print(f"  {name:34s} {baseline}")
        if name != "never stop":
            for edition, curve in curves.items():
                threshold, point = at_savings(curve, baseline.saved)
                print(f"    {edition:14s} below {threshold:7.3f}       {point}")


def slope_states(cases: Sequence[Case]) -> dict[str, str]:
    """The baseline: the state from level and slope of the recorded training loss."""
    said = {}
    for case in cases:
        loss = recorded_loss(case, "loss")
        if not np.isfinite(loss).all() or loss[-5:].mean() > 1.5 * loss[0]:
            said[case.name] = "diverging"
            continue
        gained = max(loss[0] - loss.min(), 1e-9)
        slope = (loss[-20:-10].mean() - loss[-10:].mean()) / gained if len(loss) > 10 else 0.0
        learned = (loss[0] - loss[-5:].mean()) / (abs(loss[0]) or 1.0)
        rest = "converged" if learned > 0.3 else "stalled"
        said[case.name] = "training" if slope > 0.01 else rest
    return said


def agreement(cases: Sequence[Case], said: Mapping[str, str]) -> tuple[float, float]:
    """Return the share of decided runs that are right, and the share that is undecided."""
    decided = [case for case in cases if said[case.name] != "inconclusive"]
    right = sum(said[case.name] == case.truth.state for case in decided)
    return right / max(1, len(decided)), 1.0 - len(decided) / len(cases)


def print_states(title: str, rows: Rows, moving: np.ndarray, learned: np.ndarray) -> None:
    """Print how often the state is right, at several margins below which it is not named."""
    scored = np.array(rows.scored)
    labels = np.array(rows.labels)[scored]
    rows_of = [rows.values[k] for k in np.flatnonzero(scored)]
    blown = np.array([_diverged(row) for row in rows_of])
    print(f"\n{title}: {scored.sum()} runs")
    for margin in (0.0, 0.1, 0.2, 0.3, 0.5):
        named: list[State] = [
            "diverging" if gone else named_state(float(a), float(b), margin)
            for a, b, gone in zip(moving[scored], learned[scored], blown, strict=True)
        ]
        told = np.array(named) != "inconclusive"
        right = (np.array(named) == labels)[told].mean()
        print(f"  margin {margin:.1f}: {right:.1%} right, {1 - told.mean():.1%} inconclusive")


def _diverged(row: Mapping[str, float]) -> bool:
    if "loss_rise" not in row:
        return False
    return diverged({name: np.array([row[f"loss_{name}"]]) for name in ("rise", "floor", "noise")})


def of_scored(rows: Rows, score: np.ndarray) -> dict[str, float]:
    """Return, by run, the score of the row that counts."""
    return {
        name: float(value)
        for name, value, counts in zip(rows.names, score, rows.scored, strict=True)
        if counts
    }


def auroc(score: np.ndarray, bad: np.ndarray) -> float:
    """Return the chance that a bad run scores above a good one (ties count half)."""
    above = score[bad][:, None] - score[~bad][None, :]
    return float(np.mean((above > 0) + 0.5 * (above == 0)))


def auroc_within(score: np.ndarray, bad: np.ndarray, family: np.ndarray) -> float:
    """Return the mean over families of the AUROC inside each."""
    values = []
    for name in np.unique(family):
        inside = family == name
        if 0 < bad[inside].sum() < inside.sum():
            values.append(auroc(score[inside], bad[inside]))
    return float(np.mean(values))


def restart_baselines(cases: Sequence[Case], at: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return scores (higher is worse) that need the losses or the first gradient."""
    found: dict[str, list[float]] = {}
    for case in cases:
        stop = at[case.name]
        for key, title in (("val_loss", "validation loss"), ("loss", "training loss")):
            loss = np.minimum(recorded_loss(case, key)[:stop], 1e12)
            found.setdefault(title, []).append(float(loss[-1]))
            first = abs(float(loss[0])) or 1.0
            found.setdefault(f"{title} / first", []).append(float(loss[-1] / first))
            slope = float((loss[-1] - loss[len(loss) // 2]) / first)
            found.setdefault(f"slope of the {title}", []).append(slope)
        norm = case.outcome["first_gradient_norm"]
        found.setdefault("first gradient norm, small", []).append(
            -norm if np.isfinite(norm) else 0.0
        )
    return {name: np.array(values) for name, values in found.items()}


def print_restarts(title: str, cases: Sequence[Case], said: Mapping[str, float]) -> None:
    """Print the AUROC over all and within families, without and with the unclear runs."""
    known = [case for case in cases if case.name in said]
    bad = np.array([case.truth.bad for case in known])
    family = np.array([case.family for case in known])
    score = np.array([said[case.name] for case in known])
    clear = np.array([not case.truth.bad_unclear for case in known])
    print(
        f"\n{title}: {clear.sum()} clear runs, {bad[clear].mean():.0%} bad"
        f"\n  AUROC {auroc(score[clear], bad[clear]):.3f} over all, "
        f"{auroc_within(score[clear], bad[clear], family[clear]):.3f} within families; "
        f"with the unclear ones {auroc(score, bad):.3f}, {auroc_within(score, bad, family):.3f}"
    )
