"""How iterates approach their fixed point, and whether their operator contracts."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.report.contraction import ContractionReport
from koopscope.report.figures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    VERMILION,
    entitle,
    nothing_to_show,
    panels,
    plain_decades,
    run_name,
    thousands,
)
from koopscope.spectra.iterates.contraction import Contraction

#: Iterations beyond the last iterate that are drawn at most, in lengths of the recorded stretch.
_AHEAD = 1.0


def figure(report: ContractionReport) -> Figure:
    """Draw the picture: distances to the fixed point, and ratios of successive increments."""
    picture, (left, right) = panels(2, 2.2)
    _distances(left, report.found)
    _ratios(right, report.found)
    state = report.found.state.replace("_", " ")
    entitle(picture, f"Iterates of {run_name(report.analysis)}: {state}")
    return picture


def _distances(axes: Axes, found: Contraction) -> None:
    axes.set_title("Distance to the fixed point")
    axes.set_xlabel("iteration")
    axes.set_ylabel("predicted distance")
    fixed = found.fixed
    distances = fixed.distances
    if not np.isfinite(distances).all() or not (distances > 0.0).any():
        nothing_to_show(axes, "no fixed point lies ahead of these iterates")
        return
    last = fixed.usable - 1
    axes.plot(
        np.arange(last + 1), distances, color=BLUE, marker="o", markersize=2.0, label="recorded"
    )
    needed = [each.predicted for each in found.iterations if math.isfinite(each.predicted)]
    end = min(max([*needed, last]), (1.0 + _AHEAD) * last)
    if fixed.factor < 1.0 and end > last:
        ahead = np.linspace(last, end, 50)
        low, high = (distances[-1] * each ** (ahead - last) for each in fixed.interval)
        axes.fill_between(ahead, low, high, color=BLUE, alpha=0.2, linewidth=0.0)
        axes.plot(
            ahead, distances[-1] * fixed.factor ** (ahead - last), "--", color=BLUE,
            label=f"to come, factor {fixed.factor:.4g}",
        )  # fmt: skip
    for each, style in zip(found.iterations, (":", "-."), strict=False):
        label = f"{each.tolerance:g} of the first"
        label += (
            f": iteration {each.predicted:,.0f}" if math.isfinite(each.predicted) else ": never"
        )
        axes.axhline(
            each.tolerance * distances[0], color=INK, linewidth=0.8, linestyle=style, label=label
        )
    bounds = (
        (found.a_posteriori, "v", "a posteriori bound"),
        (found.a_priori, "x", "a priori bound"),
    )
    for bound, sign, label in bounds:
        if bound is not None:
            axes.plot([last], [bound], sign, color=VERMILION, markersize=4.0, label=label)
    axes.set_yscale("log")
    plain_decades(axes.yaxis, *axes.get_ylim())
    thousands(axes.xaxis)
    axes.legend(loc="best", fontsize=6.0)


def _ratios(axes: Axes, found: Contraction) -> None:
    axes.set_title("Contraction from step to step")
    axes.set_xlabel("iteration")
    axes.set_ylabel("ratio of successive increments")
    fixed = found.fixed
    low, high = fixed.interval
    axes.axhspan(low, high, color=BLUE, alpha=0.2, linewidth=0.0, label="interval of the factor")
    axes.axhline(fixed.factor, color=BLUE, linestyle="--", label=f"factor {fixed.factor:.4g}")
    axes.axhline(1.0, color=INK, linewidth=0.8)
    ratios = fixed.ratios
    axes.plot(
        np.arange(1, len(ratios) + 1), ratios, color=ORANGE, marker="o", markersize=2.0,
        markeredgecolor=INK, markeredgewidth=0.3, label="recorded",
    )  # fmt: skip
    growing = ratios > 1.0
    axes.axhspan(1.0, max(1.0, axes.get_ylim()[1]), color=FAINT, alpha=0.2, linewidth=0.0, zorder=0)
    axes.set_ylim(0.0, 1.08 * max(1.0, float(ratios.max()), min(high, 2.0)))
    if growing.any():
        axes.annotate(
            "grows", (0.99, 1.0), (0, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", fontsize=6.0, ha="right",
        )  # fmt: skip
    thousands(axes.xaxis)
    axes.legend(loc="best", fontsize=6.0)
