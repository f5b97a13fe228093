"""Fit the verdicts' tables on the tuning families: ``python -m studies.fit --corpus DIR``.

Prints scores that are cross-validated over whole families, and with ``--write`` replaces the tables
in ``koopscope/diagnostics/tables``. Never touches a held-out family. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from koopscope.diagnostics.statistics.editions import EDITIONS, Edition
from koopscope.diagnostics.statistics.stopping import EARLIEST_STOP, GAIN_FLOOR
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
_BINS = 8

#: Log of no improvement at all.
_LEAST = float(np.log(GAIN_FLOOR))


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


#: The editions that are joined to one that sees more: none may be worse than what it adds to.
ADDS_TO = {
    "weights": (),
    "training": ("weights",),
    "validation": ("weights",),
    "losses": ("weights", "training"),
}


@dataclass
class Fitted:
    """A model, what models like it say of the families that they were not fitted to, and whom."""

    model: dict[str, Any]
    said: np.ndarray
    inside: np.ndarray

    def joined(self, others: Sequence[Fitted]) -> Fitted:
        """Return the mean of this and other models."""
        every = [self, *others]
        return Fitted(
            blended([each.model for each in every]),
            np.mean([each.said for each in every], axis=0),
            self.inside,
        )

    def calibrated(self, target: np.ndarray, weight: np.ndarray) -> Fitted:
        """Return the model with its log odds stretched and moved to what held on other families."""
        known = self.inside
        line = LogisticRegression(C=1e3)
        line.fit(self.said[known, None], target[known], sample_weight=weight[known])
        slope, shift = float(line.coef_[0, 0]), float(line.intercept_[0])
        places = list(range(len(self.model["columns"])))
        model = {
            "columns": self.model["columns"],
            "offset": round(slope * self.model["offset"] + shift, 4),
            "trees": [moved(tree, places, slope) for tree in self.model["trees"]],
        }
        return Fitted(model, slope * self.said + shift, known)


def fit_model(
    rows: Rows, target: np.ndarray, inside: np.ndarray, columns: Sequence[str], **options: Any
) -> Fitted:
    """Fit a model to the rows inside that have all columns; cross-validate it over families."""
    X, weight = rows.table(columns), rows.weight
    known = inside & np.isfinite(X).all(axis=1)

    def fit(chosen: np.ndarray) -> dict[str, Any]:
        use = chosen & known
        return ensemble(X[use], target[use], weight[use], columns, **options)

    said = across_families(rows.families, fit, lambda model, held: score_of(model, X[held]))
    return Fitted(fit(known), said, known)


def every_second(count: int) -> np.ndarray:
    """Return which of so many rows, and of the same without a rate, are fitted to: in turn."""
    first = np.arange(count) % 2 == 0
    return np.concatenate([first, ~first])


def fit_alone(
    rows: Rows, target: np.ndarray, inside: np.ndarray, **options: Any
) -> dict[str, Fitted]:
    """Fit every edition."""
    return {
        edition.name: fit_model(
            rows, target, inside, columns_of(edition, rows.statistics), **options
        )
        for edition in EDITIONS
    }


def fit_editions(
    rows: Rows, target: np.ndarray, inside: np.ndarray, **options: Any
) -> dict[str, Fitted]:
    """Fit every edition, each joined with those that it adds to."""
    alone = fit_alone(rows, target, inside, **options)
    return {
        name: each.joined([alone[other] for other in ADDS_TO[name]]) for name, each in alone.items()
    }


#: Of the models: as many trees and as large as cross-validation over families asked for.
STATE = {"trees": 200, "rate": 0.05}
RESTART = {"trees": 200, "rate": 0.05}
STOP = {"leaf": 40, "trees": 160, "rate": 0.05}


#: Left out of the stop where a validation loss is seen. With them, at the savings of patience 5,
#: false stops rose from 24 to 30 of 555 tuning runs, cross-validated.
_NOT_BESIDE_VALIDATION = (
    *("rate_", "drift_", "scatter_", "cosine_2", "cosine_8", "cosine_quarter", "apart"),
    *("homeward", "speed_quarter", "speed_half", "speed_peak", "speed_slope", "loss_block"),
    *("val_block", "loss_best_", "val_best_", "loss_order", "val_order"),
)


def stop_columns(edition: Edition, names: Sequence[str]) -> list[str]:
    """Return the statistics that the stop rule of an edition looks at."""
    seen = columns_of(edition, names)
    if not edition.validation:
        return seen
    return [name for name in seen if not name.startswith(_NOT_BESIDE_VALIDATION)]


def fit_stop(
    cases: Sequence[Case], courses: Mapping[str, Course], editions: Sequence[Edition] = EDITIONS
) -> dict[str, Any]:
    scored = [case for case in cases if case.name in courses and measures.counts_for_stop(case)]
    recorded = stop_rows(scored, dict(courses), EARLIEST_STOP)
    rows, count = recorded.and_(recorded.as_if_no_rate()), len(recorded.values)
    target, says = np.array(rows.targets), np.array(rows.says)
    # Joining the editions here lets the weights, which see no over-fitting, spoil the tail.
    fitted = {
        edition.name: fit_model(
            rows, target, every_second(count), stop_columns(edition, rows.statistics), **STOP
        )
        for edition in editions
    }
    content = {
        name: {**each.model, **spread(each.said, target, says)} for name, each in fitted.items()
    }
    for title, part in (("with", slice(count)), ("without", slice(count, None))):
        said = {
            name: measures.by_run(recorded, each.said[part], scored)
            for name, each in fitted.items()
        }
        measures.print_stops(f"stop, cross-validated, {title} the rate", scored, said)
        for name, each in fitted.items():
            held = held_share(each.said[part], target[part], content[name], recorded)
            print(f"  intervals, {name:14s} {held:.1%} of the 90% ones hold")
    return content


def spread(score: np.ndarray, target: np.ndarray, weight: np.ndarray) -> dict[str, list[float]]:
    """Return where 90% of the truth lay about a prediction, at several predictions.

    Of rows that were scored by a fit to other families, every run with equal say. A twentieth
    lies below where that is possible at all, for no improvement is less than none: what does not
    fall out below may fall out above.
    """
    edges = np.quantile(score, np.linspace(0.0, 1.0, _BINS + 1))
    at, low, high = [], [], []
    for begin, end in pairwise(edges):
        inside = (score >= begin) & (score <= end)
        residual, say = (target - score)[inside], weight[inside] / weight[inside].sum()
        order = np.argsort(residual)
        none = say[target[inside] <= _LEAST + 1e-6].sum()
        place = int(np.searchsorted(np.cumsum(say[order]), 0.05))
        below = float(residual[order][min(place, len(order) - 1)])
        if none > 0.05:
            below = min(below, _LEAST - float(end))
        kept = say * (target[inside] >= np.maximum(score[inside] + below, _LEAST) - 1e-9)
        place = int(np.searchsorted(np.cumsum(kept[order]), 0.9))
        at.append(round(float(np.median(score[inside])), 3))
        low.append(round(below, 3))
        high.append(round(float(residual[order][min(place, len(order) - 1)]), 3))
    return {"at": at, "low": low, "high": high}


def held_share(
    score: np.ndarray, target: np.ndarray, spread: Mapping[str, list[float]], rows: Rows
) -> float:
    """Return how often the truth lies inside of the interval; runs count alike."""
    low, high = (score + np.interp(score, spread["at"], spread[side]) for side in ("low", "high"))
    held = (target >= np.maximum(low, _LEAST) - 1e-9) & (target <= np.maximum(high, _LEAST) + 1e-9)
    _, index = np.unique(np.array(rows.names), return_inverse=True)
    return float((np.bincount(index, held) / np.bincount(index)).mean())


def fit_state(cases: Sequence[Case], courses: Mapping[str, Course]) -> dict[str, Any]:
    recorded = state_rows([case for case in cases if case.name in courses], dict(courses))
    rows, count = recorded.and_(recorded.as_if_no_rate()), len(recorded.values)
    labels, weight = np.array(rows.labels), rows.weight
    everywhere = every_second(count) | np.array(rows.scored)
    rest = everywhere & np.isin(labels, ["converged", "stalled"])
    content: dict[str, Any] = {edition.name: {} for edition in EDITIONS}
    said: dict[str, dict[str, np.ndarray]] = {edition.name: {} for edition in EDITIONS}
    for question, state, inside in (
        ("moving", "training", everywhere),
        ("learned", "converged", rest),
    ):
        target = labels == state
        for name, each in fit_editions(rows, target, inside, **STATE).items():
            sure = each.calibrated(target, weight)
            content[name][question], said[name][question] = sure.model, sure.said
    for title, part in (("with", slice(count)), ("without", slice(count, None))):
        for edition in EDITIONS:
            both = {name: values[part] for name, values in said[edition.name].items()}
            heading = f"state, cross-validated, {edition.source}, {title} the rate"
            measures.print_states(heading, recorded, **both)
    return content


def known_range(rows: Rows) -> dict[str, list[Any]]:
    """Return between which values 98% of the runs kept each statistic."""
    columns = [name for name in rows.statistics if not name.startswith("rate_")]
    low, high = np.nanquantile(rows.table(columns), [0.01, 0.99], axis=0)
    return {
        "columns": columns,
        "low": [float(f"{value:.4g}") for value in low],
        "high": [float(f"{value:.4g}") for value in high],
    }


def fit_restart(cases: Sequence[Case]) -> dict[str, Any]:
    rows = start_rows(cases, beginnings_of(cases))
    bad = np.array(rows.labels) == "bad"
    content = {}
    for name, each in fit_editions(rows, bad, np.ones(len(bad), bool), **RESTART).items():
        sure = each.calibrated(bad, rows.weight)
        content[name] = sure.model
        title = f"restart, cross-validated, {name}"
        measures.print_restarts(title, cases, measures.of_scored(rows, sure.said))
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
    tables: dict[str, dict[str, Any]] = {"convergence": {}, "initialization": {}}
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
            path = TABLES / f"{name}.json"  # read again: another part may have been written since
            text = json.dumps(json.loads(path.read_text()) | content, separators=(",", ":"))
            path.write_text(text + "\n")


if __name__ == "__main__":
    main()
