"""Fit the verdicts' tables on the tuning families: ``python -m studies.fit --corpus DIR``.

Prints scores that are cross-validated over whole families, and with ``--write`` replaces the tables
in ``koopscope/diagnostics/tables``. Never touches a held-out family. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import Ridge

from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.start import beginning_of, snapshots_of_beginning
from koopscope.diagnostics.statistics.trajectory import Course, course_of
from studies import corpus, measures
from studies.corpus import Case
from studies.labels import state_at
from studies.plan import TUNING

TABLES = Path("koopscope/diagnostics/tables")

#: The stop rule never speaks before this snapshot.
EARLIEST = 12

#: Excess validation loss below this is as good as none.
GAIN_FLOOR = 0.005

VALIDATION = ("val_above", "val_since", "val_trend", "val_trend_quarter", "val_noise")

Rows = list[tuple[dict[str, np.ndarray], np.ndarray]]


def fit_curves(rows: Rows, names: Sequence[str], ridge: float) -> dict[str, Any]:
    """Fit a sum of piecewise linear curves; every run has the same say."""
    columns = {name: np.concatenate([x[name] for x, _ in rows]) for name in names}
    target = np.concatenate([y for _, y in rows])
    weight = np.concatenate([np.full(len(y), 1.0 / max(1, len(y))) for _, y in rows])
    knots = {}
    for name, values in columns.items():
        quantiles = np.quantile(values, [0.02, 0.25, 0.5, 0.75, 0.98])
        knots[name] = np.unique(np.round(quantiles, 4))
    hats = [
        np.stack([np.interp(columns[name], k, unit) for unit in np.eye(len(k))], axis=1)
        for name, k in knots.items()
    ]
    basis = np.concatenate(hats, axis=1)
    centre = basis.mean(axis=0)
    model = Ridge(ridge).fit(basis - centre, target, sample_weight=weight)
    parts = np.split(model.coef_, np.cumsum([len(k) for k in knots.values()])[:-1])
    return {
        "offset": round(float(model.intercept_ - centre @ model.coef_), 4),
        "curves": {
            name: [k.tolist(), np.round(part, 4).tolist()]
            for (name, k), part in zip(knots.items(), parts, strict=True)
        },
    }


def fit_trees(
    rows: Sequence[dict[str, float]], label: np.ndarray, weight: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Fit boosted trees of depth three to a yes-or-no label."""
    X = np.array([[row[name] for name in names] for row in rows])
    model = GradientBoostingClassifier(
        max_depth=3,
        n_estimators=70,
        learning_rate=0.08,
        subsample=0.6,
        max_features=0.3,
        min_samples_leaf=4,
        random_state=0,
    ).fit(X, label, sample_weight=weight)
    odds = np.average(label, weights=weight)
    trees = [_nested(stage[0].tree_, names, model.learning_rate) for stage in model.estimators_]
    return {"offset": round(float(np.log(odds / (1.0 - odds))), 4), "trees": trees}


def _nested(tree: Any, names: Sequence[str], rate: float, node: int = 0) -> Any:
    left, right = tree.children_left[node], tree.children_right[node]
    if left < 0:
        return round(float(rate * tree.value[node][0][0]), 4)
    return [
        names[tree.feature[node]],
        float(f"{tree.threshold[node]:.5g}"),
        _nested(tree, names, rate, left),
        _nested(tree, names, rate, right),
    ]


def across_families(
    cases: Sequence[Case], fit: Callable[[list[Case]], Any], apply: Callable[[Any, Case], Any]
) -> dict[str, Any]:
    """Return, by run, what a fit to all other families says of it."""
    said = {}
    for family in sorted({case.family for case in cases}):
        fitted = fit([case for case in cases if case.family != family])
        said.update({case.name: apply(fitted, case) for case in cases if case.family == family})
    return said


# Stop: how much better would the validation loss still become?


def stop_rows(case: Case, course: Course) -> tuple[dict[str, np.ndarray], np.ndarray]:
    count = len(course.weights["speed"])
    val = case.truth.val_loss
    best_to_come = np.minimum.accumulate(val[::-1])[::-1]
    gain = (val - best_to_come) / (val[0] - case.truth.best_val)
    inside = slice(EARLIEST, min(count, len(val) - 1))
    statistics = {name: values[inside] for name, values in course.all().items()}
    return statistics, np.log(np.clip(gain[inside], 0.0, 1.0) + GAIN_FLOOR)


def weight_names(courses: dict[str, Course]) -> list[str]:
    return list(next(course.weights for course in courses.values() if course.weights))


# State: would training on change the loss, and has it learned?


def state_rows(case: Case, course: Course) -> list[tuple[dict[str, float], str, float]]:
    """Return the run at several ends: training on for as long again is known for each."""
    T = case.outcome["snapshots"]
    rows = []
    for end in sorted({T // 2, (5 * T) // 8, (3 * T) // 4, (7 * T) // 8, T - 1}):
        if end < len(course.weights.get("speed", ())):
            statistics = {name: float(values[end]) for name, values in course.all().items()}
            state = state_at(case.outcome, end, case.chance, case.best_train)
            rows.append((statistics, state, 1.0 if end == T - 1 else 0.3))
    return rows


def fit_states(
    cases: Sequence[Case], courses: dict[str, Course], names: Sequence[str]
) -> dict[str, Any]:
    rows = [row for case in cases for row in state_rows(case, courses[case.name])]
    state = np.array([row[1] for row in rows])
    weight = np.array([row[2] for row in rows])
    rest = np.isin(state, ["converged", "stalled"])
    statistics = [row[0] for row in rows]
    return {
        "moving": fit_trees(statistics, state == "training", weight, names),
        "learned": fit_trees(
            [row for row, kept in zip(statistics, rest, strict=True) if kept],
            state[rest] == "converged",
            weight[rest],
            names,
        ),
    }


# Restart: has it gone wrong in the first tenth?


def beginning_rows(case: Case) -> list[dict[str, float]]:
    """Return the statistics of the beginning, and of beginnings that are a little longer."""
    count = snapshots_of_beginning(case.outcome["snapshots"])
    rows = []
    for snapshots in (count, count + 1, count + 2):
        if case.analysis.window.snapshots >= snapshots:
            found = beginning_of(case.analysis, snapshots)
            if found is not None:
                rows.append(found.all())
    return rows


def fit_beginnings(
    cases: Sequence[Case], rows: dict[str, list[dict[str, float]]], names: Sequence[str]
) -> dict[str, Any]:
    chosen = [(row, case) for case in cases for row in rows[case.name]]
    label = np.array([case.truth.bad for _, case in chosen])
    weight = np.array([1.0 / len(rows[case.name]) for _, case in chosen])
    return fit_trees([row for row, _ in chosen], label, weight, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    cases = corpus.load(options.corpus / "runs", TUNING)
    courses = {case.name: course_of(case.analysis) for case in cases}
    convergence = {**fit_stop(cases, courses), "state": fit_state(cases, courses)}
    initialization = fit_restart(cases)
    if options.write:
        TABLES.mkdir(exist_ok=True)
        for name, content in (("convergence", convergence), ("initialization", initialization)):
            (TABLES / f"{name}.json").write_text(json.dumps(content) + "\n")


def fit_stop(cases: Sequence[Case], courses: dict[str, Course]) -> dict[str, Any]:
    scored = [case for case in cases if measures.counts_for_stop(case)]
    names = weight_names(courses)

    def fit(columns: Sequence[str], ridge: float, chosen: Sequence[Case]) -> dict[str, Any]:
        rows = [stop_rows(case, courses[case.name]) for case in chosen]
        return fit_curves([row for row in rows if len(row[1])], columns, ridge)

    content: dict[str, Any] = {}
    said: dict[str, dict[str, np.ndarray]] = {}
    for part, columns, ridge in (("weights", names, 0.9), ("validation", VALIDATION, 0.4)):
        said[part] = across_families(
            scored,
            lambda chosen, columns=columns, ridge=ridge: fit(columns, ridge, chosen),
            lambda fitted, case: scores.curve_score(fitted)(courses[case.name].all()),
        )
        content[part] = fit(columns, ridge, scored)
    residuals = np.concatenate(
        [
            stop_rows(case, courses[case.name])[1]
            - said["weights"][case.name][EARLIEST : len(case.truth.val_loss) - 1]
            for case in scored
        ]
    )
    content["interval"] = np.round(np.quantile(residuals, [0.1, 0.9]), 4).tolist()
    measures.print_stops("stop, cross-validated over the tuning families", scored, courses, said)
    return content


def fit_state(cases: Sequence[Case], courses: dict[str, Course]) -> dict[str, Any]:
    names = weight_names(courses)
    with_loss = [*names, *(f"loss_{name}" for name in next(iter(courses.values())).training or {})]
    content = {}
    for part, columns in (("weights", names), ("losses", with_loss)):
        said = across_families(
            cases,
            lambda chosen, columns=columns: fit_states(chosen, courses, columns),
            lambda fitted, case: measures.state_scores(fitted, courses[case.name]),
        )
        measures.print_states(f"state, cross-validated, {part}", cases, said)
        content[part] = fit_states(cases, courses, columns)
    return content


def fit_restart(cases: Sequence[Case]) -> dict[str, Any]:
    rows = {case.name: beginning_rows(case) for case in cases}
    usable = [case for case in cases if rows[case.name]]
    first = rows[usable[0].name][0]
    from_weights = [name for name in first if not name.startswith(("val_", "loss_"))]
    from_training = [name for name in first if not name.startswith("val_")]
    content = {}
    for part, columns in (
        ("weights", from_weights),
        ("training", from_training),
        ("losses", list(first)),
    ):
        said = across_families(
            usable,
            lambda chosen, columns=columns: fit_beginnings(chosen, rows, columns),
            lambda fitted, case: scores.tree_score(fitted)(rows[case.name][0]),
        )
        measures.print_restarts(f"restart, cross-validated, {part}", usable, said)
        content[part] = fit_beginnings(usable, rows, columns)
    return content


if __name__ == "__main__":
    main()
