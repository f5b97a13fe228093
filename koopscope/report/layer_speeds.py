"""Which layers a map over time shows, and how many columns: for pages and figures alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from koopscope._types import Float64

Item = TypeVar("Item")


def foremost(items: Sequence[Item], ways: Sequence[float], most: int) -> list[Item]:
    """Return at most so many items, those with the longest ways, in the order given."""
    if len(items) <= most:
        return list(items)
    least = sorted(ways, reverse=True)[most - 1]
    return [item for item, way in zip(items, ways, strict=True) if way >= least][:most]


def binned(values: Float64, most: int) -> Float64:
    """Return float64, at most so many means over stretches of float64 [T] of nearly one length."""
    columns = np.array_split(values, min(len(values), most))
    return np.array([column.mean() for column in columns])


def bin_edges(steps: Float64, count: int, most: int) -> Float64:
    """Return float64 [columns + 1], where the stretches of ``binned`` begin and end.

    Parameters
    ----------
    steps
        float64 [T + 1], between which T values lie.
    count
        T.
    most
        As of ``binned``.
    """
    parts = np.array_split(np.arange(count), min(count, most))
    return np.array([*(steps[part[0]] for part in parts), steps[count]])


def relative_to_largest(values: Float64) -> Float64:
    """Return values over the largest of them; zeros where nothing moved."""
    largest = float(values.max(initial=0.0))
    return values / largest if largest > 0.0 else values
