"""Fit when averaging helps on the tuning families: ``python -m studies.averaging.fit [--write]``.

Prints the score of every count, cross-validated over whole tuning families and on the held-out
ones, next to plain rules. ``--write`` replaces the table. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from koopscope.diagnostics.statistics import scores
from studies.averaging.study import COUNTS, RESULTS

TABLE = Path("koopscope/diagnostics/tables/averaging.json")

#: Statistics that the curves are of; more did not score better across the tuning families.
USED = ("cosine", "cosine_far")

#: Strength of the penalty on a curve's values (smaller is stronger).
INVERSE_PENALTY = 1.0

#: Edges of the probabilities within which gains are summed up.
EDGES = (0.3, 0.5, 0.7, 0.85)


def load() -> list[dict[str, Any]]:
    """Return the rows of runs that had learned something and did not blow up."""
    with RESULTS.open() as file:
        rows = [
            {
                k: v if k in ("run", "family", "schedule", "optimizer") else float(v)
                for k, v in row.items()
            }
            for row in csv.DictReader(file)
        ]
    kept = []
    for row in rows:
        gained = row["first"] - row["best"]
        if gained > 0.05 * abs(row["first"]) and np.isfinite(row["average"]):
            row["gain"] = (row["last"] - row["average"]) / gained
            kept.append(row)
    return kept


def fit(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Fit a sum of piecewise linear curves to whether the loss falls; runs count the same."""
    knots = {
        name: np.unique(np.round(np.quantile([r[name] for r in rows], [0.05, 0.3, 0.6, 0.95]), 3))
        for name in USED
    }
    basis = np.hstack(
        [
            np.stack(
                [np.interp([r[name] for r in rows], k, unit) for unit in np.eye(len(k))], axis=1
            )
            for name, k in knots.items()
        ]
    )
    centre = basis.mean(axis=0)
    helps = np.array([r["gain"] > 0 for r in rows])
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(basis - centre, helps)
    parts = np.split(model.coef_[0], np.cumsum([len(k) for k in knots.values()])[:-1])
    return {
        "offset": round(float(model.intercept_[0] - centre @ model.coef_[0]), 4),
        "curves": {
            name: [k.tolist(), np.round(part, 4).tolist()]
            for (name, k), part in zip(knots.items(), parts, strict=True)
        },
    }


def apply(content: dict[str, Any], rows: list[dict[str, Any]]) -> np.ndarray:
    columns = {name: np.array([r[name] for r in rows]) for name in USED}
    return np.array([scores.probability(s) for s in scores.curve_score(content)(columns)])


def crossed(rows: list[dict[str, Any]]) -> np.ndarray:
    """Return what a fit to all other families says of each row."""
    said = np.empty(len(rows))
    families = np.array([r["family"] for r in rows])
    for family in np.unique(families):
        fitted = fit([r for r in rows if r["family"] != family])
        inside = np.flatnonzero(families == family)
        said[inside] = apply(fitted, [rows[i] for i in inside])
    return said


def score(name: str, rows: list[dict[str, Any]], said: np.ndarray) -> None:
    helps = np.array([r["gain"] > 0 for r in rows])
    cosine = np.array([r["cosine"] for r in rows])
    line = f"  {name:10s} {len(rows):4d} rows, helps in {helps.mean():.0%}"
    if 0 < helps.sum() < len(helps):
        fitted, plain = roc_auc_score(helps, said), roc_auc_score(helps, -cosine)
        line += f"; AUROC {fitted:.3f}, cosine alone {plain:.3f}"
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 1.01)):
        inside = (said >= low) & (said < high)
        if inside.any():
            gain = np.median([r["gain"] for r, i in zip(rows, inside, strict=True) if i])
            line += f"; p from {low}: {helps[inside].mean():.0%} of {inside.sum()}"
            line += f", median gain {gain:+.4f}"
    print(line)


def gains(rows: list[dict[str, Any]], said: np.ndarray) -> list[list[float]]:
    """Return the 10%, 50% and 90% points of the gains within each range of probabilities."""
    place = np.searchsorted(EDGES, said)
    values = np.array([r["gain"] for r in rows])
    return [
        np.round(
            np.quantile(values[place == k] if (place == k).sum() > 4 else values, [0.1, 0.5, 0.9]),
            4,
        ).tolist()
        for k in range(len(EDGES) + 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    everything = load()
    table: dict[str, Any] = {"fitted_to": "the tuning families of studies/plan.py", "counts": {}}
    for count in COUNTS:
        rows = [r for r in everything if r["count"] == count]
        tuning = [r for r in rows if not r["held_out"]]
        held_out = [r for r in rows if r["held_out"]]
        print(f"average of {count}: {len({r['run'] for r in rows})} runs")
        said = crossed(tuning)
        score("tuning", tuning, said)
        content = fit(tuning)
        score("held out", held_out, apply(content, held_out))
        table["counts"][str(count)] = {
            "helps": content,
            "edges": list(EDGES),
            "gains": gains(tuning, said),
        }
    chosen(everything, table)
    if options.write:
        TABLE.write_text(json.dumps(table, indent=1) + "\n")


def chosen(rows: list[dict[str, Any]], table: dict[str, Any]) -> None:
    """Score the choice of the count, on the held-out families, against always the same count."""
    cases: dict[tuple[str, float], dict[int, dict[str, Any]]] = {}
    for row in rows:
        if row["held_out"]:
            cases.setdefault((row["run"], row["moment"]), {})[int(row["count"])] = row
    best, fixed = [], {count: [] for count in COUNTS}
    for each in cases.values():
        if len(each) < len(COUNTS):
            continue
        p = {c: apply(table["counts"][str(c)]["helps"], [each[c]])[0] for c in COUNTS}
        count = max(p, key=lambda c: p[c])
        best.append((p[count], each[count]["gain"]))
        for c in COUNTS:
            fixed[c].append(each[c]["gain"])
    p, gain = np.array(best).T
    for edge in (0.5, 0.7):
        sure = p >= edge
        if not sure.any():
            print(f"chosen count where p >= {edge}: never")
            continue
        print(
            f"chosen count where p >= {edge}: {sure.sum()} of {len(p)} cases, helps in "
            f"{(gain[sure] > 0).mean():.0%}, mean gain {gain[sure].mean():+.4f}, "
            f"10% point {np.quantile(gain[sure], 0.1):+.4f}"
        )
    for c, values in fixed.items():
        print(
            f"always {c}: helps in {np.mean(np.array(values) > 0):.0%}, "
            f"mean {np.mean(values):+.4f}, 10% point {np.quantile(values, 0.1):+.4f}"
        )


if __name__ == "__main__":
    main()
