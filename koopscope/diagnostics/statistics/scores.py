"""Scores over named statistics, as plain numbers that are read from a table beside this module.

A score is a sum of small decision trees, or of curves (one per statistic). Tables are written by
``studies/fit.py`` and ``studies/averaging/fit.py`` from the tuning runs; each says what it was
fitted to. Nothing here may decide what a score means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from koopscope._types import Float64


@dataclass(frozen=True)
class CurveScore:
    """score = offset + sum over statistics of a piecewise linear curve.

    Attributes
    ----------
    offset
        The score where every curve is zero.
    curves
        By statistic: knots in ascending order and the curve's values there; constant beyond.
    """

    offset: float
    curves: Mapping[str, tuple[list[float], list[float]]]

    def __call__(self, statistics: Mapping[str, Float64]) -> Float64:
        """Return the score for arrays of statistics, in their shape."""
        parts = [
            np.interp(statistics[name], knots, values)
            for name, (knots, values) in self.curves.items()
        ]
        score: Float64 = np.sum(parts, axis=0) + self.offset
        return score


#: A leaf's value, or (column, threshold, subtree where at most that, subtree where above).
Tree = Any


@dataclass(frozen=True)
class TreeScore:
    """score = offset + sum of the leaves that a case falls into.

    Attributes
    ----------
    offset
        The score before any tree.
    columns
        Names of the statistics that trees refer to by their place.
    trees
        Nested ``[column, threshold, at most, above]``, numbers at the leaves.
    """

    offset: float
    columns: tuple[str, ...]
    trees: tuple[Tree, ...]

    def __call__(self, statistics: Mapping[str, Float64 | float]) -> Float64:
        """Return the score for numbers or arrays of statistics, in their shape."""
        values = [np.asarray(statistics[name], float) for name in self.columns]
        if values and all(value.ndim == 0 for value in values):
            numbers = [float(value) for value in values]
            return np.asarray(self.offset + sum(_leaf(tree, numbers) for tree in self.trees))
        score = np.full(values[0].shape if values else (), self.offset)
        for tree in self.trees:
            score = score + _leaves(tree, values)
        return score


def _leaf(tree: Tree, values: list[float]) -> float:
    """Return the leaf that one case falls into: ten times as fast as for arrays."""
    while isinstance(tree, list):
        column, threshold, at_most, above = tree
        tree = at_most if values[column] <= threshold else above
    return float(tree)


def _leaves(tree: Tree, values: list[Float64]) -> Float64:
    if not isinstance(tree, list):
        return np.asarray(tree, float)
    column, threshold, at_most, above = tree
    return np.where(values[column] <= threshold, _leaves(at_most, values), _leaves(above, values))


@cache
def table(name: str) -> Mapping[str, Any]:
    """Return a table of this package by name."""
    text = resources.files("koopscope.diagnostics").joinpath(f"tables/{name}.json").read_text()
    content: Mapping[str, Any] = json.loads(text)
    return content


def curve_score(content: Mapping[str, Any]) -> CurveScore:
    """Return the score that a table's entry holds."""
    return CurveScore(
        content["offset"],
        {name: (knots, values) for name, (knots, values) in content["curves"].items()},
    )


def tree_score(content: Mapping[str, Any]) -> TreeScore:
    """Return the score that a table's entry holds."""
    return TreeScore(content["offset"], tuple(content["columns"]), tuple(content["trees"]))


def unfamiliar(known: Mapping[str, Any], statistics: Mapping[str, float]) -> float:
    """Return the share of a case's statistics that lie outside of what the tuning runs showed.

    ``known`` holds ``columns`` and for each the ``low`` and the ``high`` that all but one in a
    hundred of them kept to on either side.
    """
    outside = [
        not low <= statistics[name] <= high
        for name, low, high in zip(known["columns"], known["low"], known["high"], strict=True)
        if name in statistics
    ]
    return sum(outside) / max(1, len(outside))


def probability(score: float) -> float:
    """Return the logistic of a score."""
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, score))))
