"""Where the weights are heading in two coordinates, and how far off such forecasts have been."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope._types import Float64
from koopscope.forecasting.backtest import FORECAST
from koopscope.forecasting.results import Forecast
from koopscope.report.figures.style import (
    COLORS,
    DASHES,
    FAINT,
    INK,
    MARKERS,
    entitle,
    is_narrow,
    new_figure,
    nothing_to_show,
    thousands,
)
from koopscope.report.text.numbers import percent

#: Errors above this are cut: a baseline that has left the picture has said enough.
_HIGHEST = 2.0

_BAND = (0.1, 0.9)


def figure(found: Forecast) -> Figure:
    """Draw the picture."""
    if is_narrow():
        picture = new_figure(5.8)
        rows = picture.subplots(3, 1).tolist()
        errors = rows.pop()
    else:
        picture = new_figure(3.4)
        grid = picture.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
        rows = [picture.add_subplot(grid[0, 0]), picture.add_subplot(grid[1, 0])]
        errors = picture.add_subplot(grid[:, 1])
    for coordinate, axes in enumerate(rows):
        draw_fan(axes, found, coordinate)
    rows[1].sharex(rows[0])
    rows[0].tick_params(labelbottom=False)
    rows[0].set_xlabel("")
    draw_errors(errors, found)
    name = PurePath(found.description.path).name
    entitle(picture, f"Forecast of {name} from step {_last_step(found):,.0f}")
    return picture


def _last_step(found: Forecast) -> int:
    return int(found.plan.steps[found.plan.last])


def draw_fan(axes: Axes, found: Forecast, coordinate: int) -> None:
    """Draw one leading coordinate: recorded, forecast, and how far past forecasts were off."""
    axes.set_xlabel("optimizer step")
    plan, plane = found.plan, found.plane
    axes.set_ylabel(f"coordinate {coordinate + 1}")
    if coordinate >= plane.trajectory.shape[1] or not plane.shares[coordinate]:
        nothing_to_show(axes, "nothing moves along it")
        return
    axes.set_title(f"{percent(plane.shares[coordinate])} of the window's motion", fontsize=7.0)
    start = max(0, plan.last + 1 - 2 * plan.fitted)
    path = plane.trajectory[:, coordinate]
    known = slice(start, plan.last + 1)
    axes.plot(plan.steps[known], path[known], color=INK, label="recorded")
    later = slice(plan.last, None)
    if len(path) > plan.last + 1:
        axes.plot(plan.steps[later], path[later], ":", color=INK, label="what came")
    last = _last_step(found)
    label: str | None = "past forecasts"
    for origin, (reach, places) in plane.past.items():
        if origin < start or not len(reach):
            continue
        steps = plan.steps[origin] + np.array([0.0, *reach]) * plan.spacing_steps
        line = np.concatenate([[path[origin]], places[:, coordinate]])
        axes.plot(steps, line, color=FAINT, linewidth=0.6, label=label)
        label = None
    reach, places = plane.ahead
    steps = last + np.array([0.0, *reach]) * plan.spacing_steps
    line = np.concatenate([[0.0], places[:, coordinate]])
    horizons, low, high = _band(found, coordinate)
    inside = np.array([0.0, *reach]) <= horizons[-1]
    at = np.array([0.0, *reach])[inside]
    axes.fill_between(
        steps[inside],
        line[inside] + np.interp(at, horizons, low),
        line[inside] + np.interp(at, horizons, high),
        color=COLORS[0],
        alpha=0.2,
        linewidth=0.0,
        label="80% of past errors",
    )
    axes.plot(steps, line, "--", color=COLORS[0], label="forecast")
    axes.axvline(last, color=FAINT, linewidth=0.6)
    axes.set_xlim(right=float(max(steps[-1], plan.steps[plan.last])))
    if coordinate == 0:
        axes.legend(loc="best", fontsize=6.0)
    thousands(axes.xaxis)
    _fit_height(axes, [path[known], line, path[later][: _shown_later(found, steps[-1])]])


def _shown_later(found: Forecast, end: float) -> int:
    plan = found.plan
    return int(np.count_nonzero(plan.steps[plan.last :] <= end))


def _fit_height(axes: Axes, lines: list[Float64]) -> None:
    """Show what is recorded and forecast; a stray past forecast may leave the picture."""
    shown = np.concatenate(lines)
    low, high = float(shown.min()), float(shown.max())
    room = 0.2 * (high - low or 1.0)
    axes.set_ylim(low - room, high + room)


def _band(found: Forecast, coordinate: int) -> tuple[Float64, Float64, Float64]:
    """Return horizons, and how far below and above the forecasts of the past the truth lay."""
    path = found.plane.trajectory[:, coordinate]
    off: dict[float, list[float]] = {}
    for origin, (reach, places) in found.plane.past.items():
        for horizon, place in zip(reach, places[:, coordinate], strict=True):
            off.setdefault(horizon, []).append(float(path[origin + int(horizon)] - place))
    horizons = sorted(off)
    ends = [np.quantile(off[horizon], _BAND) for horizon in horizons]
    low, high = np.array([[0.0, 0.0], *ends]).T
    return np.array([0.0, *horizons]), np.minimum(low, 0.0), np.maximum(high, 0.0)


def draw_errors(axes: Axes, found: Forecast) -> None:
    """Draw the errors of past forecasts, and of the baselines, against the steps ahead."""
    axes.set_title("Error of past forecasts")
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("relative to no change")
    test = found.backtest
    steps = test.horizons * found.plan.spacing_steps
    tested = [k for k in range(len(test.horizons)) if test.score(FORECAST, k) is not None]
    if not tested:
        nothing_to_show(axes, "too short a run to test a forecast")
        return
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        "no change", (0.0, 1.0), (2, 2), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=6.5,
    )  # fmt: skip
    for k, name in enumerate(test.errors):
        scores = [(steps[j], test.score(name, j)) for j in tested]
        x = np.array([at for at, score in scores if score is not None])
        rows = np.array([[s.median, s.low, s.high] for _, s in scores if s is not None])
        style: dict[str, Any] = {
            "color": COLORS[k % len(COLORS)],
            "linestyle": DASHES[k % len(DASHES)],
            "marker": MARKERS[k % len(MARKERS)],
        }
        axes.plot(x, rows[:, 0], label=name, **style)
        if name == FORECAST:
            axes.fill_between(x, rows[:, 1], rows[:, 2], color=COLORS[k], alpha=0.2, linewidth=0.0)
    target = found.plan.horizon * found.plan.spacing_steps
    if found.actual is not None:
        axes.plot([target], [found.actual], "*", color=INK, markersize=8, label="what came")
    axes.set_ylim(0.0, _HIGHEST)
    axes.set_xlim(left=0.0)
    thousands(axes.xaxis)
    if is_narrow():
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2)
    else:
        axes.legend(loc="upper right", ncols=2)
