"""Fit the verdicts' tables on the tuning families: ``python -m studies.fit --corpus DIR``.

Prints scores that are cross-validated over whole families, and with ``--write`` replaces the tables
in ``koopscope/diagnostics/tables``. Never touches a held-out family. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from koopscope.diagnostics.convergence import EARLIEST_STOP
from koopscope.diagnostics.statistics.editions import EDITIONS
from koopscope.diagnostics.statistics.trajectory import Course
from studies import corpus, measures
from studies.boosting import across_families, fit_trees, score_of
from studies.corpus import Case
from studies.rows import (
    Rows,
    beginnings_of,
    columns_of,
    courses_of,
    start_rows,
    state_rows,
    stop_rows,
)
from studies.yardstick.plan import TUNING

TABLES = Path("koopscope/diagnostics/tables")

#: Models of either verdict: trees that start from different random numbers, added up.
SEEDS = (0,)

#: Scores at which the spread of the truth about a prediction is measured.
_BINS = 6


def ensemble(
    X: np.ndarray, target: np.ndarray, weight: np.ndarray, names: Sequence[str], **options: Any
) -> dict[str, Any]:
    """Fit the mean of several models."""
    parts = [fit_trees(X, target, weight, names, seed=seed, **options) for seed in SEEDS]
    return blended(parts)


def blended(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of several models as one."""
    names = list(dict.fromkeys(name for part in parts for name in part["columns"]))
    share = 1.0 / len(parts)
    return {
        "columns": names,
        "offset": round(share * sum(part["offset"] for part in parts), 4),
        "trees": [
            moved(tree, [names.index(name) for name in part["columns"]], share)
            for part in parts
            for tree in part["trees"]
        ],
    }


def moved(tree: Any, places: Sequence[int], factor: float) -> Any:
    """Return a tree whose columns have other places and whose leaves are multiplied."""
    if not isinstance(tree, list):
        return round(factor * tree, 4)
    column, threshold, low, high = tree
    return [
        places[column],
        threshold,
        moved(low, places, factor),
        moved(high, places, factor),
    ]


def calibrated(
    fitted: dict[str, Any], score: np.ndarray, label: np.ndarray, weight: np.ndarray
) -> dict[str, Any]:
    """Return the model with its log odds stretched and moved to what held on other families."""
    line = LogisticRegression(C=1e3).fit(score[:, None], label, sample_weight=weight)
    slope, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
    places = list(range(len(fitted["columns"])))
    return {
        "columns": fitted["columns"],
        "offset": round(slope * fitted["offset"] + shift, 4),
        "trees": [moved(tree, places, slope) for tree in fitted["trees"]],
    }


def fit_yes_or_no(
    rows: Rows, target: np.ndarray, inside: np.ndarray, columns: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """Return a calibrated model, and its cross-validated scores for all rows."""
    X, weight = rows.table(columns), rows.weight
    said = across_families(
        rows.families,
        lambda chosen: ensemble(
            X[chosen & inside], target[chosen & inside], weight[chosen & inside], columns
        ),
        lambda fitted, chosen: score_of(fitted, X[chosen]),
    )
    fitted = ensemble(X[inside], target[inside], weight[inside], columns)
    line = LogisticRegression(C=1e3)
    line.fit(said[inside, None], target[inside], sample_weight=weight[inside])
    straight = float(line.coef_[0, 0]) * said + float(line.intercept_[0])
    return calibrated(fitted, said[inside], target[inside], weight[inside]), straight


def fit_stop(cases: Sequence[Case], courses: Mapping[str, Course]) -> dict[str, Any]:
    scored = [case for case in cases if case.name in courses and measures.counts_for_stop(case)]
    rows = stop_rows(scored, dict(courses), EARLIEST_STOP)
    target, weight = np.array(rows.targets), rows.weight
    content: dict[str, Any] = {}
    said: dict[str, dict[str, np.ndarray]] = {}
    for edition in EDITIONS:
        columns = columns_of(edition, rows.values[0])
        X = rows.table(columns)

        def fit(chosen: np.ndarray, X: np.ndarray = X, columns: list[str] = columns) -> Any:
            return ensemble(
                X[chosen],
                target[chosen],
                weight[chosen],
                columns,
                leaf=40,
                trees=160,
                rate=0.05,
            )

        score = across_families(
            rows.families, fit, lambda fitted, chosen, X=X: score_of(fitted, X[chosen])
        )
        content[edition.name] = {
            **fit(np.ones(len(X), bool)),
            **spread(score, target - score, weight),
        }
        said[edition.name] = measures.by_run(rows, score, scored, EARLIEST_STOP)
    measures.print_stops("stop, cross-validated over the tuning families", scored, courses, said)
    return content


def spread(score: np.ndarray, residual: np.ndarray, weight: np.ndarray) -> dict[str, list[float]]:
    """Return where 90% of the truth lay about a prediction, at several predictions."""
    edges = np.quantile(score, np.linspace(0.0, 1.0, _BINS + 1))
    at, low, high = [], [], []
    for begin, end in pairwise(edges):
        inside = (score >= begin) & (score <= end)
        order = np.argsort(residual[inside])
        share = np.cumsum(weight[inside][order]) / weight[inside].sum()
        at.append(round(float(np.median(score[inside])), 3))
        for bound, part in ((low, 0.05), (high, 0.95)):
            place = min(int(np.searchsorted(share, part)), len(order) - 1)
            bound.append(round(float(residual[inside][order][place]), 3))
    return {"at": at, "low": low, "high": high}


def fit_state(cases: Sequence[Case], courses: Mapping[str, Course]) -> dict[str, Any]:
    rows = state_rows([case for case in cases if case.name in courses], dict(courses))
    labels = np.array(rows.labels)
    everywhere, rest = np.ones(len(labels), bool), np.isin(labels, ["converged", "stalled"])
    content = {}
    for edition in EDITIONS:
        columns = columns_of(edition, rows.values[0])
        moving, moves = fit_yes_or_no(rows, labels == "training", everywhere, columns)
        learned, learns = fit_yes_or_no(rows, labels == "converged", rest, columns)
        content[edition.name] = {"moving": moving, "learned": learned}
        measures.print_states(f"state, cross-validated, {edition.source}", rows, moves, learns)
    return content


def known_range(rows: Rows) -> dict[str, list[Any]]:
    """Return between which values 98% of the runs kept each statistic."""
    columns = list(rows.values[0])
    low, high = np.quantile(rows.table(columns), [0.01, 0.99], axis=0)
    return {
        "columns": columns,
        "low": [float(f"{value:.4g}") for value in low],
        "high": [float(f"{value:.4g}") for value in high],
    }


def fit_restart(cases: Sequence[Case]) -> dict[str, Any]:
    rows = start_rows(cases, beginnings_of(cases))
    bad = np.array(rows.labels) == "bad"
    content = {}
    for edition in EDITIONS:
        columns = columns_of(edition, rows.values[0])
        content[edition.name], said = fit_yes_or_no(rows, bad, np.ones(len(bad), bool), columns)
        title = f"restart, cross-validated, {edition.source}"
        measures.print_restarts(title, cases, measures.of_scored(rows, said))
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", choices=["stop", "state", "restart"])
    options = parser.parse_args()
    cases = corpus.load(options.corpus / "runs", TUNING)
    print(f"{len(cases)} runs of {len({case.family for case in cases})} tuning families")
    courses = courses_of(cases)
    tables = {
        name: json.loads((TABLES / f"{name}.json").read_text())
        for name in ("convergence", "initialization")
    }
    if options.only in (None, "restart"):
        tables["initialization"] = fit_restart(cases)
    if options.only in (None, "state"):
        chosen = [case for case in cases if case.name in courses]
        tables["convergence"]["state"] = fit_state(chosen, courses)
        tables["convergence"]["known"] = known_range(state_rows(chosen, courses))
    if options.only in (None, "stop"):
        tables["convergence"]["stop"] = fit_stop(cases, courses)
    if options.write:
        for name, content in tables.items():
            text = json.dumps(content, separators=(",", ":"))
            (TABLES / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
