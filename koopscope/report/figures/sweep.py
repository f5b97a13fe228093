"""Several runs over each other: the metric that ranks them, and each one's best value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.analysis_report import Report
from koopscope.report.figures.losses import set_scale
from koopscope.report.figures.style import (
    BLUE,
    FAINT,
    INK,
    VERMILION,
    entitle,
    fitting_name,
    line_styles,
    nothing_to_show,
    panels,
    plain_decades,
    thousands,
)

#: Runs that a key and an axis name at most.
MOST_NAMES = 10

#: Different learning rates from which on the best values are drawn against them.
_LEAST_RATES = 3


def figure(report: Report) -> Figure:
    """Draw the picture of a report on several runs; the best run comes first in the key."""
    ranking: Mapping[str, Any] = (report.sweep or {})["ranking"]
    by_path = {each.analysis.description.path: each for each in report.diagnoses}
    picture, (left, right) = panels(2, 2.2)
    _curves(left, ranking, by_path)
    rates = {run["rate"] for run in ranking["runs"]}
    by_rate = ranking["by"] and None not in rates and len(rates) >= _LEAST_RATES
    (_against_rates if by_rate else _dots)(right, ranking)
    entitle(picture, f"{len(by_path)} runs, best first: {_name(ranking['runs'][0])}")
    return picture


def _name(run: Mapping[str, Any]) -> str:
    return fitting_name(PurePath(run["path"]).name)


def _curves(axes: Axes, ranking: Mapping[str, Any], runs: Mapping[str, Diagnosis]) -> None:
    by = ranking["by"]
    axes.set_title(by or "Speed of the weights")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(by or "length of a change")
    drawn = []
    for run, style in zip(ranking["runs"], line_styles(), strict=False):
        description = runs[run["path"]].analysis.description
        if by:
            values = np.asarray(description.metrics.get(by, ()), float)
            steps = description.steps[: len(values)]
        else:
            window = runs[run["path"]].analysis.window
            values = runs[run["path"]].analysis.gram().speeds()
            steps = description.steps[window.first : window.stop][1:]
        known = np.isfinite(values)
        if not known.any():
            continue
        drawn.append(values)
        is_best = run["rank"] == 1
        style = {**style, "zorder": 3 if is_best else 2}
        label = f"{run['rank']} {_name(run)}" if run["rank"] <= MOST_NAMES else None
        axes.plot(
            steps[known], values[known], linewidth=1.6 if is_best else 0.9, label=label,
            markevery=max(1, int(known.sum()) // 6), markersize=3.0, **style,
        )  # fmt: skip
    if not drawn:
        nothing_to_show(axes, "no value is finite")
        return
    set_scale(axes, drawn)
    thousands(axes.xaxis)
    axes.legend(loc="best", fontsize=6.0)


def _against_rates(axes: Axes, ranking: Mapping[str, Any]) -> None:
    """Draw the best values over the learning rates; the best run is marked."""
    axes.set_title("Best value by learning rate")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"best {ranking['by']}")
    known = sorted(
        (run["rate"], run["value"], run["rank"])
        for run in ranking["runs"]
        if run["value"] is not None
    )
    rates, values, ranks = np.array(known).T
    axes.plot(rates, values, color=FAINT, linewidth=0.8, zorder=1)
    _points(axes, rates, values, ranks)
    if rates.min() > 0.0:
        axes.set_xscale("log")
        plain_decades(axes.xaxis, *axes.get_xlim())
    set_scale(axes, [values])
    axes.legend(loc="best")


def _dots(axes: Axes, ranking: Mapping[str, Any]) -> None:
    """Draw one dot a run, ranked from top to bottom: its best value, or its restart score."""
    by = ranking["by"]
    axes.set_title(f"Best {by}" if by else "Restart score")
    axes.set_xlabel(f"best {by}" if by else "0 is a good start, 1 a bad one")
    axes.set_ylabel("run")
    shown = ranking["runs"][:MOST_NAMES]
    axes.set_yticks(range(len(shown)), [f"{run['rank']} {_name(run)}" for run in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    key = "value" if by else "restart_score"
    known = [(k, run[key], run["rank"]) for k, run in enumerate(shown) if run[key] is not None]
    if not known:
        nothing_to_show(axes, "nothing to compare")
        return
    places, values, ranks = np.array(known).T
    _points(axes, values, places, ranks)
    axes.legend(loc="best")


def _points(
    axes: Axes, across: Sequence[float], up: Sequence[float], ranks: Sequence[float]
) -> None:
    is_best = np.asarray(ranks) == 1
    for chosen, color, sign, label in (
        (~is_best, BLUE, "o", "other runs"),
        (is_best, VERMILION, "D", "best run"),
    ):
        axes.plot(
            np.asarray(across)[chosen], np.asarray(up)[chosen], sign, color=color,
            markeredgecolor=INK, markeredgewidth=0.5, markersize=4.5, label=label, zorder=3,
        )  # fmt: skip
