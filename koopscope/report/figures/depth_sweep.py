"""What depth brings: the excess of every run of a sweep, and the depth that is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from koopscope.report.figures.style import COLORS, INK, entitle, new_figure


def figure(sweep: Mapping[str, Any]) -> Figure:
    """Draw the picture: one point per run, the tolerance, and the suggested depth."""
    picture = new_figure(2.4)
    axes = picture.subplots()
    depths = [run["depth"] for run in sweep["runs"]]
    axes.plot(depths, [run["excess"] for run in sweep["runs"]], color=COLORS[0], marker="o")
    axes.axhline(
        sweep["tolerance"], color=INK, linestyle="--", linewidth=0.9, label="as good as the best"
    )
    chosen = sweep["suggested_depth"]
    axes.axvline(chosen, color=COLORS[4], linestyle="-.", label=f"enough: {chosen}")
    axes.set_xlabel("depth")
    axes.set_ylabel("excess (0 best, 1 worst)")
    axes.set_title(f"By {sweep['method']}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    entitle(picture, "Depth sweep")
    return picture
