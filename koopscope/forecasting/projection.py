"""Project a trajectory and its forecasts onto the two leading directions of a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.forecasting.plan import ForecastPlan
from koopscope.spectra.gram import SnapshotGram

COORDINATES = 2


@dataclass(frozen=True)
class Plane:
    """Leading principal directions of the window, and what lies on them.

    Attributes
    ----------
    directions
        float64 [T-1, 2]: each unit direction as a combination of the increments.
    shares
        float64 [2], the part of the window's squared motion along each.
    trajectory
        float64 [T, 2], the rows' coordinates from the last row.
    past
        By origin: the horizons, and float64 [h, 2], where they were forecast to be, from the last
        row.
    ahead
        The same from the last row on.
    """

    directions: Float64
    shares: Float64
    trajectory: Float64
    past: Mapping[int, tuple[tuple[float, ...], Float64]]
    ahead: tuple[tuple[float, ...], Float64]


def leading_plane(gram: SnapshotGram, plan: ForecastPlan) -> Plane:
    """Return the plane of the window, with the trajectory but without forecasts.

    Directions without motion are zero.
    """
    window = plan.window(plan.last)
    rows = window.stop - window.start
    centering = np.eye(rows) - 1.0 / rows
    anchored = gram.window(window.start, window.stop).anchored()
    squares, vectors = np.linalg.eigh(centering @ anchored @ centering)
    squares, vectors = squares[::-1][:COORDINATES], vectors[:, ::-1][:, :COORDINATES]
    moving = squares > 1e-14 * max(float(np.trace(anchored)), np.finfo(float).tiny)
    on_rows = centering @ vectors / np.sqrt(np.where(moving, squares, 1.0)) * moving
    increments = len(plan.steps) - 1
    directions = np.zeros((increments, on_rows.shape[1]))
    # sum_t c_t w_t with coefficients that sum to zero: increment s counts in every later row.
    directions[window.start : window.stop - 1] = on_rows[::-1].cumsum(axis=0)[::-1][1:]
    along = np.concatenate(
        [np.zeros((1, directions.shape[1])), (gram.increments @ directions).cumsum(axis=0)]
    )
    trace = float(np.trace(centering @ anchored @ centering))
    return Plane(
        directions=directions,
        shares=np.maximum(squares, 0.0) / trace if trace > 0.0 else np.zeros(len(squares)),
        trajectory=along - along[plan.last],
        past={},
        ahead=((), np.zeros((0, directions.shape[1]))),
    )
