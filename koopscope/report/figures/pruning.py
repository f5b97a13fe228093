"""Where the pruned weights were: density per layer and sparsity, and score against magnitude."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.pruning.prune import Pruning, ScoreSample
from koopscope.report.figures.style import (
    COLORS,
    FAINT,
    MARKERS,
    fitting_name,
    new_figure,
    nothing_to_show,
    run_name,
)
from koopscope.report.pruning import PruningReport, layers_of

#: Layer names written below the axis at most.
MOST_NAMES = 40


def figure(report: PruningReport, sample: ScoreSample) -> Figure:
    """Draw the picture; ``sample`` belongs to the last pruning of the report."""
    picture = new_figure(3.6)
    left, right = picture.subplots(1, 2)
    _densities(left, report.prunings)
    _scores(right, report.prunings[-1], sample)
    picture.suptitle(
        f"Pruning of {run_name(report.basis.analysis)} at step {report.basis.step:,}",
        fontsize=10,
    )
    return picture


def _densities(axes: Axes, prunings: tuple[Pruning, ...]) -> None:
    axes.set_title("Weights that stay")
    axes.set_ylabel("% of the layer")
    names = [layer.name for layer in layers_of(prunings[0])]
    places = np.arange(len(names))
    for k, pruning in enumerate(prunings):
        color, marker = COLORS[k % len(COLORS)], MARKERS[k % len(MARKERS)]
        densities = [100.0 * layer.density for layer in layers_of(pruning)]
        overall = 100.0 * pruning.kept / pruning.total
        label = f"{100 * pruning.request.sparsity:g}% sparse"
        axes.plot(places, densities, f"{marker}:", color=color, linewidth=0.8, label=label)
        axes.axhline(overall, color=color, linewidth=0.5, alpha=0.6)
    every = -(-len(names) // MOST_NAMES)
    shown = [fitting_name(name) for name in names[::every]]
    axes.set_xticks(places[::every], shown, rotation=60, ha="right", fontsize=6.5)
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="best")


def _scores(axes: Axes, pruning: Pruning, sample: ScoreSample) -> None:
    axes.set_title(f"Score and magnitude, {100 * pruning.request.sparsity:g}% sparse")
    shown = (sample.scores > 0.0) & (sample.magnitudes > 0.0)
    if not shown.any():
        nothing_to_show(axes, "all scores are zero")
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("magnitude |w|")
    axes.set_ylabel(f"{pruning.criterion.name} score")
    for kept, label, marker, color in (
        (False, "pruned", ".", FAINT),
        (True, "kept", "+", COLORS[0]),
    ):
        chosen = shown & (sample.kept == kept)
        axes.plot(
            sample.magnitudes[chosen],
            sample.scores[chosen],
            linestyle="none",
            marker=marker,
            markersize=3.0,
            color=color,
            label=f"{label} ({int(chosen.sum()):,} shown)",
        )
    axes.legend(loc="upper left")
