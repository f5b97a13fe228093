"""Set the comparison's scales, weights and tables on the tuning families.

``python -m studies.comparison.fit FOLDER`` writes ``koopscope/comparison/calibration.json`` anew.
Nothing here reads a held-out family.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from koopscope.comparison.permutation import contrast
from studies.comparison.corpus import Base, Trained, bases

LEVELS = ("network", "layers")
FLOOR = 0.1
PENALTY = 0.03
PROBABILITIES = np.linspace(0.0, 1.0, 41)
OUT = Path(__file__).parents[2] / "koopscope" / "comparison" / "calibration.json"

Distance = Callable[[Base, Trained, Trained], float]


def scale_of(known: list[Base], level: int) -> np.ndarray:
    """Return the usual distance of two seeds in each part: the median of the bases' medians."""
    return np.median(
        [
            np.median([base.parts(*pair)[level] for pair in base.same_pairs()], axis=0)
            for base in known
        ],
        axis=0,
    )


def weights_of(known: list[Base], level: int, scale: np.ndarray) -> np.ndarray:
    """Return weights that tell a change from a seed: logistic regression, none below 0.

    Every base counts alike, and in it the seeds as much as the changes together.
    """
    rows, answers, counts = [], [], []
    for base in known:
        groups = [(0.0, base.same_pairs(), 1.0)]
        groups += [(1.0, base.different_pairs(c), 1.0 / len(base.changes)) for c in base.changes]
        for answer, pairs, weight in groups:
            rows += [np.log(base.parts(*pair)[level] / scale + FLOOR) for pair in pairs]
            answers += [answer] * len(pairs)
            counts += [weight / len(pairs)] * len(pairs)
    X, y, w = np.array(rows), np.array(answers), np.array(counts) / np.sum(counts)

    def loss(p: np.ndarray) -> tuple[float, np.ndarray]:
        z = X @ p[1:] + p[0]
        off = w * (np.exp(-np.logaddexp(0.0, -z)) - y)
        value = float(w @ (np.logaddexp(0.0, z) - y * z)) + PENALTY * float(p[1:] @ p[1:])
        return value, np.append(off.sum(), X.T @ off + 2.0 * PENALTY * p[1:])

    free = [(None, None)] + [(0.0, None)] * X.shape[1]
    found = minimize(loss, np.zeros(X.shape[1] + 1), jac=True, bounds=free).x[1:]
    return found / found.sum()


def distances(base: Base, pairs: list[tuple[Trained, Trained]], distance: Distance) -> list[float]:
    return [distance(base, *pair) for pair in pairs]


def matrix(base: Base, runs: list[Trained], distance: Distance) -> np.ndarray:
    """Return the distances between runs."""
    found = np.zeros((len(runs), len(runs)))
    for i, j in combinations(range(len(runs)), 2):
        found[i, j] = found[j, i] = distance(base, runs[i], runs[j])
    return found


def contrasts(known: list[Base], distance: Distance) -> tuple[list[float], list[float]]:
    """Return the contrasts of three against three: of one recipe, and of two."""
    first = np.arange(6) < 3
    same, different = [], []
    for base in known:
        whole = matrix(base, base.seeds, distance)
        count = len(base.seeds)
        for chosen in combinations(range(1, count), 2) if count == 6 else ():
            order = [0, *chosen, *(k for k in range(1, 6) if k not in chosen)]
            same.append(contrast(whole[np.ix_(order, order)], first))
        for change in base.changes:
            for start in range(0, count - 2, 3):
                runs = [*base.seeds[start : start + 3], *base.runs[change]]
                if len(runs) == 6:
                    different.append(contrast(matrix(base, runs, distance), first))
    return same, different


def table(values: list[float]) -> np.ndarray:
    return np.quantile(values, PROBABILITIES)


def fitted(folder: Path) -> dict[str, dict[str, np.ndarray | tuple[np.ndarray, np.ndarray]]]:
    """Return everything that is set, by name and level."""
    known = bases(folder, "tuning")
    found: dict[str, dict] = {"SCALES": {}, "WEIGHTS": {}, "DISTANCES": {}, "CONTRASTS": {}}
    for level, name in enumerate(LEVELS):
        scale = scale_of(known, level)
        weights = weights_of(known, level, scale)

        def distance(base: Base, one: Trained, other: Trained) -> float:
            parts = base.parts(one, other)[level]  # noqa: B023
            return float(weights @ np.log(parts / scale + FLOOR) - np.log1p(FLOOR))  # noqa: B023

        # Bases have as many pairs each, so that tables weigh them alike.
        same = [d for base in known for d in distances(base, base.same_pairs(), distance)]
        different = [
            d
            for base in known
            for change in base.changes
            for d in distances(base, base.different_pairs(change), distance)
        ]
        found["SCALES"][name], found["WEIGHTS"][name] = scale, weights
        found["DISTANCES"][name] = (table(same), table(different))
        found["CONTRASTS"][name] = tuple(map(table, contrasts(known, distance)))
    return found


def document(found: dict[str, dict]) -> str:
    """Return the text of the calibration: a line for each row of numbers."""
    plain = {
        name.lower(): {
            level: [_row(each) for each in value] if isinstance(value, tuple) else _row(value)
            for level, value in of.items()
        }
        for name, of in found.items()
    }
    text = json.dumps({"floor": FLOOR, **plain}, indent=1)
    return re.sub(r"\[\s+(-?[\d.][^\[\]]*?)\s+\]", _one_line, text) + "\n"


def _row(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"


if __name__ == "__main__":
    OUT.write_text(document(fitted(Path(sys.argv[1]))), "utf-8")
