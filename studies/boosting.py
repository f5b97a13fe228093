"""Boosted trees as plain numbers, and what a fit to all other families says of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

#: Parts that the tuning families are dealt into, whole, for cross-validation.
FOLDS = 6

Columns = Sequence[str]
Row = dict[str, float]


def table_of(rows: Sequence[Row], names: Columns) -> np.ndarray:
    """Return [rows, names] values."""
    return np.array([[row[name] for name in names] for row in rows], float)


def equal_say(groups: Sequence[str], weight: np.ndarray) -> np.ndarray:
    """Return the weights scaled so that every group's sum to the same, 1 on average."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index, weight)
    scaled: np.ndarray = weight / sums[index] * weight.sum() / len(names)
    return scaled


def fit_trees(
    X: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    names: Columns,
    *,
    trees: int = 100,
    rate: float = 0.08,
    seed: int = 0,
    leaf: int = 12,
    depth: int = 3,
) -> dict[str, Any]:
    """Fit boosted trees to a yes-or-no target, or to numbers."""
    # Scoring needs none of it, and is done on machines with Python alone.
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    kind = GradientBoostingClassifier if target.dtype == bool else GradientBoostingRegressor
    model = kind(
        max_depth=depth,
        n_estimators=trees,
        learning_rate=rate,
        min_samples_leaf=leaf,
        subsample=0.5,
        max_features=0.12,
        random_state=seed,
    ).fit(X, target, sample_weight=weight)
    offset = float(np.average(target, weights=weight))
    if target.dtype == bool:
        offset = float(np.log(offset / (1.0 - offset)))
    return {
        "columns": list(names),
        "offset": round(offset, 4),
        "trees": [_nested(stage[0].tree_, rate) for stage in model.estimators_],
    }


def _nested(tree: Any, rate: float, node: int = 0) -> Any:
    left, right = tree.children_left[node], tree.children_right[node]
    if left < 0:
        return round(float(rate * tree.value[node][0][0]), 4)
    return [
        int(tree.feature[node]),
        float(f"{tree.threshold[node]:.5g}"),
        _nested(tree, rate, left),
        _nested(tree, rate, right),
    ]


def score_of(fitted: dict[str, Any], X: np.ndarray) -> np.ndarray:
    """Return the scores of [rows, columns] values."""
    from koopscope.diagnostics.statistics.scores import tree_score

    statistics = {name: X[:, k] for k, name in enumerate(fitted["columns"])}
    return tree_score(fitted)(statistics)


def folds(families: Sequence[str], count: int = FOLDS) -> list[list[str]]:
    """Deal whole families into parts."""
    dealt = np.random.default_rng(0).permutation(sorted(set(families)))
    return [list(dealt[k::count]) for k in range(min(count, len(dealt)))]


def across_families(
    families: Sequence[str],
    fit: Callable[[np.ndarray], Any],
    apply: Callable[[Any, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return, by row, what a fit to all other families says of it.

    ``fit`` and ``apply`` are given the rows to look at, as a mask.
    """
    said = np.full(len(families), np.nan)
    known = np.asarray(families)
    for part in folds(families):
        inside = np.isin(known, part)
        said[inside] = apply(fit(~inside), inside)
    return said
