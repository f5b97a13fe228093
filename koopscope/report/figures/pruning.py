"""What a pruning takes from each layer: of its weights, of its norm, and against magnitude."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.pruning.prune import BASELINE, Pruning, ScoreSample
from koopscope.report.figures.style import (
    COLORS,
    FAINT,
    INK,
    MARKERS,
    entitle,
    fitting_name,
    is_narrow,
    nothing_to_show,
    panels,
    plain_decades,
    run_name,
)
from koopscope.report.pruning import MUCH, LayerDensity, PruningReport, layers_of

#: Layer names written below an axis at most, by whether it shares the width with another one.
MOST_NAMES = 30

#: Layers up to which bars are drawn; more become a line.
_MOST_BARS = 12


def figure(report: PruningReport, sample: ScoreSample) -> Figure:
    """Draw the picture; ``sample`` belongs to the last pruning of the report.

    A score that is the magnitude itself says nothing beside the magnitude: then there are two
    panels, otherwise three.
    """
    by_magnitude = report.settings.criterion == BASELINE
    picture, grid = panels(2 if by_magnitude else 3, 2.2)
    _per_layer(grid[0], report.prunings, "stay")
    _per_layer(grid[1], report.prunings, "norm")
    if not by_magnitude:
        _scores(grid[2], report.prunings[-1], sample)
    entitle(picture, f"Pruning of {run_name(report.basis.analysis)} at step {report.basis.step:,}")
    return picture


def _per_layer(axes: Axes, prunings: tuple[Pruning, ...], what: str) -> None:
    """Draw a share of each layer, in percent: of the weights that stay or the norm that goes."""
    names = [layer.name for layer in layers_of(prunings[0])]
    places = np.arange(len(names))
    few = len(names) <= _MOST_BARS
    width = 0.8 / len(prunings)
    for k, pruning in enumerate(prunings):
        color, marker = COLORS[k % len(COLORS)], MARKERS[k % len(MARKERS)]
        values = [100.0 * _share(layer, what) for layer in layers_of(pruning)]
        label = f"{100 * pruning.request.sparsity:g}% sparse"
        if few:
            offset = width * (k - (len(prunings) - 1) / 2.0)
            axes.bar(
                places + offset, values, 0.9 * width, color=color, edgecolor=INK, linewidth=0.4,
                label=label,
            )  # fmt: skip
        else:
            axes.plot(
                places, values, f"{marker}:", color=color, linewidth=0.8, markersize=2.5,
                label=label,
            )  # fmt: skip
        if what == "stay":
            overall = 100.0 * pruning.kept / pruning.total
            axes.axhline(overall, color=color, linewidth=0.6, linestyle="--", zorder=0.5)
    if what == "stay":
        axes.set_title("Weights that stay")
        axes.set_ylabel("% of the layer")
    else:
        axes.set_title("Norm that goes")
        axes.set_ylabel("% of the squared norm")
        axes.axhline(
            100.0 * MUCH, color=INK, linewidth=0.8, linestyle="--", zorder=0.5,
            label="often costs accuracy from here",
        )  # fmt: skip
    axes.set_xlabel("layer" if what == "norm" else "layer; dashed: all layers together")
    every = -(-len(names) // MOST_NAMES)
    shown = [fitting_name(name) for name in names[::every]]
    crowded = len(names) > 4 or max(map(len, shown)) > 10
    axes.set_xticks(
        places[::every], shown, rotation=60 if crowded else 0, ha="right" if crowded else "center",
        fontsize=6.0,
    )  # fmt: skip
    axes.set_ylim(0.0, 1.25 * max(axes.get_ylim()[1], 1.0))
    axes.grid(False, axis="x")
    axes.legend(loc="upper left", ncols=1 if is_narrow() else 2)


def _share(layer: LayerDensity, what: str) -> float:
    return layer.density if what == "stay" else layer.removed


def _scores(axes: Axes, pruning: Pruning, sample: ScoreSample) -> None:
    axes.set_title(f"Score and magnitude, {100 * pruning.request.sparsity:g}% sparse")
    axes.set_xlabel("magnitude |w|")
    axes.set_ylabel(f"{pruning.criterion.name} score")
    shown = (sample.scores > 0.0) & (sample.magnitudes > 0.0)
    if not shown.any():
        nothing_to_show(axes, "all scores are zero")
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
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
            markersize=2.5,
            markeredgewidth=0.6,
            color=color,
            label=f"{label} ({int(chosen.sum()):,} shown)",
            rasterized=True,
        )
    plain_decades(axes.xaxis, *axes.get_xlim())
    plain_decades(axes.yaxis, *axes.get_ylim())
    axes.legend(loc="upper left")
