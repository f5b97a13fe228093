"""Boosted trees as plain numbers, and what a fit to all other families says of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

#: Parts that the tuning families are dealt into, whole, for cross-validation.
FOLDS = 8

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
    signs: dict[str, int] | None = None,
    trees: int = 90,
    rate: float = 0.08,
    seed: int = 0,
    leaf: int = 20,
    depth: int = 3,
    columns: float = 0.3,
) -> dict[str, Any]:
    """Fit boosted trees to a yes-or-no target, or to numbers; ``signs`` constrains directions."""
    kind = HistGradientBoostingClassifier if target.dtype == bool else HistGradientBoostingRegressor
    model = kind(
        max_depth=depth,
        max_iter=trees,
        learning_rate=rate,
        min_samples_leaf=leaf,
        max_features=columns,
        l2_regularization=1.0,
        max_bins=96,
        early_stopping=False,
        monotonic_cst=[(signs or {}).get(name, 0) for name in names],
        random_state=seed,
    ).fit(X, target, sample_weight=weight)
    fitted = [_nested(stage[0].nodes) for stage in model._predictors]
    return {
        "columns": list(names),
        "offset": round(float(np.ravel(model._baseline_prediction)[0]), 4),
        "trees": fitted,
    }


def _nested(nodes: np.ndarray, index: int = 0) -> Any:
    node = nodes[index]
    if node["is_leaf"]:
        return round(float(node["value"]), 4)
    return [
        int(node["feature_idx"]),
        float(f"{node['num_threshold']:.4g}"),
        _nested(nodes, int(node["left"])),
        _nested(nodes, int(node["right"])),
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
    families: Sequence[str], fit: Callable[[np.ndarray], Any], apply: Callable[[Any, np.ndarray], np.ndarray]
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
