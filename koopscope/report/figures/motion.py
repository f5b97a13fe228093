"""How far each layer went from its start, and how fast: lines, or a map for deep networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.figures.style import (
    COLORMAP,
    entitle,
    fitting_name,
    is_narrow,
    line_styles,
    new_figure,
    nothing_to_show,
    plain_decades,
    run_name,
    thousands,
)
from koopscope.report.text.numbers import interval

#: With more layers than this, a map is drawn in place of lines.
MOST_LINES = 10

#: Layer names written beside a map at most.
MOST_NAMES = 40

Curves = dict[str, npt.NDArray[np.float64]]


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture; lengths are in percent of the layer's norm at the first snapshot."""
    analysis = diagnosis.analysis
    layers = analysis.scopes("layer")
    window = analysis.window
    steps = analysis.description.steps[window.first : window.stop]
    displacements, speeds, unscaled = _curves(analysis, layers)
    deep = len(displacements) > MOST_LINES
    rows = min(len(layers), MOST_NAMES)
    picture = new_figure(4.0 if not deep else max(4.0, 1.4 + 2 * 0.11 * rows))
    upper, lower = picture.subplots(2, 1, sharex=True)
    draw = _map if deep else _lines
    speed_unit = f"% of norm per {interval(window.spacing_steps)}"
    for axes, curves, x, title, unit, is_log in (
        (upper, displacements, steps, "Displacement from the first snapshot", "% of norm", False),
        (lower, speeds, steps[1:], "Speed", speed_unit, True),
    ):
        axes.set_title(title)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("layer" if deep else unit)
        if window.snapshots < 2 or not curves:
            nothing_to_show(axes, "no motion: it takes two snapshots of finite weights")
        elif not any((values > 0.0).any() for values in curves.values()):
            nothing_to_show(axes, "nothing moved")
        else:
            draw(axes, x, curves, unit, is_log)
    upper.tick_params(labelbottom=True)
    more = f" and {len(unscaled) - 2} more" if len(unscaled) > 2 else ""
    named = ", ".join(map(fitting_name, unscaled[:2])) + more
    left_out = f" (not shown, start at zero: {named})" if unscaled else ""
    entitle(picture, f"Motion of the layers of {run_name(analysis)}{left_out}")
    return picture


def _curves(analysis: Analysis, layers: tuple[Scope, ...]) -> tuple[Curves, Curves, list[str]]:
    displacements: Curves = {}
    speeds: Curves = {}
    unscaled = []
    for scope in layers:
        layer, gram = scope.name, analysis.gram(scope)
        norm = np.sqrt(max(gram.anchor_square, 0.0))
        if norm <= 0.0:
            unscaled.append(layer)
            continue
        squares = np.maximum(np.diagonal(gram.anchored()), 0.0)
        displacements[layer] = 100.0 * np.sqrt(squares) / norm
        speeds[layer] = 100.0 * gram.speeds() / norm
    return displacements, speeds, unscaled


def _lines(
    axes: Axes, steps: npt.NDArray[np.int64], curves: Curves, unit: str, is_log: bool
) -> None:
    every = max(1, len(steps) // 8)
    for k, ((layer, values), style) in enumerate(zip(curves.items(), line_styles(), strict=False)):
        shown = np.where(values > 0.0, values, np.nan) if is_log else values
        # Markers of different layers are staggered, so that they do not cover each other.
        offset = k * every // max(1, len(curves))
        axes.plot(steps, shown, label=fitting_name(layer), markevery=(offset, every), **style)
    if is_log:
        axes.set_yscale("log")
        plain_decades(axes.yaxis, *axes.get_ylim())
    else:
        axes.set_ylim(bottom=0.0)
    thousands(axes.xaxis)
    if is_narrow():
        axes.legend(loc="best", handlelength=3.2, fontsize=5.5)
    else:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handlelength=3.2)


def _map(axes: Axes, steps: npt.NDArray[np.int64], curves: Curves, unit: str, is_log: bool) -> None:
    values = np.array(list(curves.values()))
    norm: Normalize = Normalize(0.0, float(values.max()) or 1.0)
    extra: dict[str, Any] = {}
    if is_log and (values > 0.0).any():
        moving = values[values > 0.0]
        norm = LogNorm(max(float(moving.min()), 1e-4 * float(moving.max())), float(moving.max()))
        extra["extend"] = "min"
    mesh = axes.pcolormesh(
        steps,
        np.arange(len(curves)),
        values,
        cmap=COLORMAP,
        norm=norm,
        shading="nearest",
        rasterized=True,
    )
    names = [fitting_name(layer) for layer in curves]
    every = -(-len(names) // MOST_NAMES)
    axes.set_yticks(range(0, len(names), every), names[::every], fontsize=5.5)
    axes.invert_yaxis()
    axes.grid(False)
    thousands(axes.xaxis)
    bar = axes.figure.colorbar(mesh, ax=axes, label=unit, pad=0.01, aspect=30, **extra)
    if is_log:
        plain_decades(bar.ax.yaxis, *bar.ax.get_ylim())
