"""What more families would bring: ``python -m studies.learning --corpus DIR``.

Fits the state and the restart to few and to many tuning families and scores them on other tuning
families. Never touches a held-out one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from koopscope.diagnostics.statistics.editions import EDITIONS
from studies import corpus, measures
from studies.boosting import fit_trees, folds, score_of
from studies.rows import Rows, beginnings_of, columns_of, courses_of, start_rows, state_rows
from studies.yardstick.plan import TUNING

COUNTS = (3, 7, 15, 30)


def curve(
    rows: Rows, target: np.ndarray, inside: np.ndarray, columns: Sequence[str]
) -> list[np.ndarray]:
    """Return, for each number of families, the scores of all rows from models of so many others."""
    X, weight, families = rows.table(columns), rows.weight, np.array(rows.families)
    found = []
    for count in COUNTS:
        said = np.full(len(X), np.nan)
        for index, part in enumerate(folds(rows.families)):
            others = sorted(set(families) - set(part))
            chosen = np.random.default_rng(index).permutation(others)[:count]
            fit = np.isin(families, chosen) & inside & np.isfinite(X).all(axis=1)
            held = np.isin(families, part)
            if len(set(target[fit])) == 2:
                fitted = fit_trees(X[fit], target[fit], weight[fit], columns)
                said[held] = score_of(fitted, X[held])
        found.append(np.nan_to_num(said))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    cases = corpus.load(options.corpus / "runs", TUNING)
    courses = courses_of(cases)
    starts = start_rows(cases, beginnings_of(cases))
    states = state_rows([case for case in cases if case.name in courses], courses)
    bad = np.array(starts.labels) == "bad"
    scored = np.array(starts.scored)
    labels, counts = np.array(states.labels), np.array(states.scored)
    rest = np.isin(labels, ["converged", "stalled"])
    print(f"families in training: {COUNTS}")
    for edition in EDITIONS:
        columns = columns_of(edition, starts.statistics)
        scores = curve(starts, bad, np.ones(len(bad), bool), columns)
        values = [measures.auroc(score[scored], bad[scored]) for score in scores]
        print(f"restart AUROC, {edition.name:11s}", " ".join(f"{v:.3f}" for v in values))
        columns = columns_of(edition, states.statistics)
        moving = curve(states, labels == "training", np.ones(len(labels), bool), columns)
        learned = curve(states, labels == "converged", rest, columns)
        right = [
            np.mean(
                np.where(m > 0, "training", np.where(k > 0, "converged", "stalled")) == labels,
                where=counts,
            )
            for m, k in zip(moving, learned, strict=True)
        ]
        print(f"state right,   {edition.name:11s}", " ".join(f"{v:.3f}" for v in right))


if __name__ == "__main__":
    main()
