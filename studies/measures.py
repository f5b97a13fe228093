"""How good a verdict is, next to the baselines that a sceptic would name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopscope.diagnostics.convergence import joined
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.trajectory import Course
from studies.corpus import Case, recorded_loss

#: A stop this much above the best validation loss, on a run that was still improving, is false.
FALSE_EXCESS = 0.2


def counts_for_stop(case: Case) -> bool:
    """Excess validation loss means something where the run learned and generalized."""
    return not case.truth.bad and case.truth.generalized


@dataclass(frozen=True)
class StopScore:
    """Excess validation loss at the stop against the budget that was saved."""

    median: float
    p90: float
    saved: float
    false: float

    def __str__(self) -> str:
        return (
            f"median {self.median:.4f}  p90 {self.p90:.3f}  saved {self.saved:5.1%}  "
            f"false {self.false:5.1%}"
        )


def score_stops(cases: Sequence[Case], stops: Mapping[str, int | None]) -> StopScore:
    """Score one stop per run; a run that was not stopped ran to its end."""
    excess, saved, false = [], [], 0
    for case in cases:
        val, best = case.truth.val_loss, case.truth.best_val
        stop = stops[case.name]
        stop = len(val) - 1 if stop is None else stop
        scale = val[0] - best
        excess.append(min(float((val[stop] - best) / scale), 10.0))
        saved.append(1.0 - stop / (len(val) - 1))
        still = float((val[stop] - val[stop:].min()) / scale)
        false += excess[-1] > FALSE_EXCESS and still > FALSE_EXCESS
    return StopScore(
        float(np.median(excess)),
        float(np.quantile(excess, 0.9)),
        float(np.mean(saved)),
        false / len(cases),
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


def first_below(score: np.ndarray, threshold: float, earliest: int, low: np.ndarray) -> int | None:
    below = np.flatnonzero((score < threshold) & low & (np.arange(len(score)) >= earliest))
    return int(below[0]) if len(below) else None


def frontier(
    cases: Sequence[Case],
    score: Mapping[str, np.ndarray],
    low: Mapping[str, np.ndarray],
    earliest: int = 12,
) -> list[tuple[float, StopScore]]:
    """Score a rule at many thresholds."""
    pooled = np.concatenate([values[earliest:] for values in score.values()])
    found = []
    for threshold in np.quantile(pooled, np.linspace(0.004, 0.7, 140)):
        stops = {
            case.name: first_below(score[case.name], threshold, earliest, low[case.name])
            for case in cases
        }
        found.append((float(threshold), score_stops(cases, stops)))
    return found


def at_savings(curve: Sequence[tuple[float, StopScore]], saved: float) -> tuple[float, StopScore]:
    """Return the point that saves no less than asked, and the least more."""
    enough = [point for point in curve if point[1].saved >= saved]
    return min(enough, key=lambda point: point[1].saved)


def stop_curves(
    cases: Sequence[Case],
    courses: Mapping[str, Course],
    said: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, list[tuple[float, StopScore]]]:
    """Return what each rule reaches at every threshold."""
    weights = {case.name: said["weights"][case.name] for case in cases}
    both, low, always = {}, {}, {}
    for case in cases:
        course = courses[case.name]
        assert course.validation is not None
        both[case.name] = joined(
            weights[case.name], said["validation"][case.name], course.validation["since"]
        )
        low[case.name] = course.validation["lowest_of_three"] > 0.0
        always[case.name] = np.ones(len(low[case.name]), bool)
    return {
        "from weights": frontier(cases, weights, always),
        "with losses": frontier(cases, both, low),
    }


def print_stops(
    title: str,
    cases: Sequence[Case],
    courses: Mapping[str, Course],
    said: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Print each rule at the savings of each baseline."""
    print(f"\n{title}: {len(cases)} runs")
    baselines = stop_baselines(cases)
    curves = stop_curves(cases, courses, said)
    for name, score in baselines.items():
        print(f"  {name:34s} {score}")
        if name != "never stop":
            for rule, curve in curves.items():
                threshold, point = at_savings(curve, score.saved)
                print(f"    {rule:14s} below {threshold:7.3f}       {point}")


def state_scores(fitted: Mapping[str, Any], course: Course) -> tuple[float, float] | None:
    """Return the scores of "still training" and "has learned" at the end of the window."""
    if not course.weights:
        return None
    statistics = {name: float(values[-1]) for name, values in course.all().items()}
    return (
        scores.tree_score(fitted["moving"])(statistics),
        scores.tree_score(fitted["learned"])(statistics),
    )


def named_state(found: tuple[float, float] | None, margin: float = 0.0) -> str:
    if found is None:
        return "inconclusive"
    moving, learned = found
    if abs(moving) < margin or (moving < 0.0 and abs(learned) < margin):
        return "inconclusive"
    return "training" if moving > 0.0 else "converged" if learned > 0.0 else "stalled"


def slope_states(cases: Sequence[Case]) -> dict[str, str]:
    """The baseline: the state from level and slope of the recorded training loss."""
    said = {}
    for case in cases:
        loss = recorded_loss(case, "loss")
        if not np.isfinite(loss).all() or loss[-5:].mean() > 1.5 * loss[0]:
            said[case.name] = "diverging"
            continue
        gained = max(loss[0] - loss.min(), 1e-9)
        slope = (loss[-20:-10].mean() - loss[-10:].mean()) / gained
        learned = (loss[0] - loss[-5:].mean()) / loss[0]
        rest = "converged" if learned > 0.3 else "stalled"
        said[case.name] = "training" if slope > 0.01 else rest
    return said


def agreement(cases: Sequence[Case], said: Mapping[str, str]) -> tuple[float, float]:
    """Return the share of decided runs that are right, and the share that is undecided."""
    decided = [case for case in cases if said[case.name] != "inconclusive"]
    right = sum(said[case.name] == case.truth.state for case in decided)
    return right / max(1, len(decided)), 1.0 - len(decided) / len(cases)


def print_states(
    title: str, cases: Sequence[Case], said: Mapping[str, tuple[float, float] | None]
) -> None:
    print(f"\n{title}: {len(cases)} runs")
    for margin in (0.0, 0.2, 0.3, 0.4, 0.5):
        named = {name: named_state(found, margin) for name, found in said.items()}
        right, undecided = agreement(cases, named)
        print(f"  margin {margin:.1f}: {right:.1%} right, {undecided:.1%} inconclusive")
    right, _ = agreement(cases, slope_states(cases))
    print(f"  slope of the training loss: {right:.1%} right")


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
            found.setdefault(f"{title} / first", []).append(float(loss[-1] / loss[0]))
            slope = float((loss[-1] - loss[stop // 2]) / loss[0])
            found.setdefault(f"slope of the {title}", []).append(slope)
        norm = case.outcome["first_gradient_norm"]
        found.setdefault("first gradient norm, small", []).append(
            -norm if np.isfinite(norm) else 0.0
        )
    return {name: np.array(values) for name, values in found.items()}


def print_restarts(title: str, cases: Sequence[Case], said: Mapping[str, float]) -> None:
    bad = np.array([case.truth.bad for case in cases])
    family = np.array([case.family for case in cases])
    score = np.array([said[case.name] for case in cases])
    clear = np.array([abs(case.truth.learned - 0.5) > 0.15 for case in cases])
    print(f"\n{title}: {len(cases)} runs, {bad.mean():.0%} bad")
    print(
        f"  AUROC {auroc(score, bad):.3f} over all, {auroc_within(score, bad, family):.3f} within; "
        f"clear-cut runs {auroc(score[clear], bad[clear]):.3f}, "
        f"{auroc_within(score[clear], bad[clear], family[clear]):.3f}"
    )
