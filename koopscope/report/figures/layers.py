"""How every layer moved over time, as a map: how fast, and whether it kept its direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.rest import RestEvidence
from koopscope.report.figures.style import (
    COLORMAP,
    INK,
    entitle,
    fitting_name,
    is_narrow,
    new_figure,
    nothing_to_show,
    run_name,
    thousands,
)
from koopscope.report.layer_speeds import bin_edges, binned, foremost, relative_to_largest
from koopscope.spectra.geometry import Geometry

#: Rows and columns of a map: more would be thinner than a line of text, or than a dot of print.
MOST_ROWS, MOST_COLUMNS = 40, 240

#: From brown to violet through white: told apart without red-green vision.
_DIRECTIONS = "PuOr"


@dataclass(frozen=True)
class LayerMotion:
    """One layer: its name, float64 [T - 1] lengths of its increments, [T - 2] cosines of them."""

    name: str
    speeds: Float64
    cosines: Float64


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: layers from top to bottom, steps from left to right."""
    moved = layer_motions(diagnosis.analysis, MOST_ROWS)
    height = max(1.7, 0.75 + 0.14 * len(moved))
    picture = new_figure(0.4 + height * (2 if is_narrow() else 1))
    if is_narrow():
        upper, lower = picture.subplots(2, 1, sharex=True)
        upper.tick_params(labelbottom=True)
    else:
        upper, lower = picture.subplots(1, 2, sharey=True)
    draw_speeds(upper, diagnosis, moved)
    _draw_directions(lower, diagnosis.analysis, moved)
    entitle(picture, f"Layers of {run_name(diagnosis.analysis)} over time")
    return picture


def layer_motions(analysis: Analysis, most: int) -> list[LayerMotion]:
    """Return the layers that moved farthest, at most so many, in model order."""
    scopes = analysis.scopes("layer")
    ways = [analysis.motion(scope).path_length for scope in analysis.walk(scopes)]
    if analysis.window.snapshots < 2:
        return []
    moved = []
    for scope in analysis.walk(foremost(scopes, ways, most)):
        geometry = Geometry(analysis.gram(scope))
        moved.append(LayerMotion(scope.name, geometry.speeds, geometry.neighbours(1)))
    return moved


def draw_speeds(axes: Axes, diagnosis: Diagnosis, moved: list[LayerMotion]) -> None:
    """Draw how fast each layer moved, relative to its own fastest, and since when it rests."""
    axes.set_title("Speed of each layer")
    _label(axes)
    if not any((layer.speeds > 0.0).any() for layer in moved):
        nothing_to_show(axes, "nothing moved" if moved else "it takes two snapshots to move")
        return
    steps = _steps(diagnosis.analysis)
    rows = [relative_to_largest(binned(layer.speeds, MOST_COLUMNS)) for layer in moved]
    edges = bin_edges(steps, len(moved[0].speeds), MOST_COLUMNS)
    mesh = axes.pcolormesh(
        edges, np.arange(len(moved) + 1) - 0.5, np.array(rows), cmap=COLORMAP,
        vmin=0.0, vmax=1.0, rasterized=True,
    )  # fmt: skip
    _name_rows(axes, moved)
    names = [layer.name for layer in moved]
    for name, since in _resting(diagnosis).items():
        if name in names:
            row = names.index(name)
            axes.plot(
                [since, steps[-1]], [row, row], color="white", linewidth=1.4, marker="|",
                markersize=5.0, markevery=[0],
            )  # fmt: skip
    label = "relative to its fastest"
    if _resting(diagnosis):
        label += "\nwhite line: at rest"
    axes.figure.colorbar(mesh, ax=axes, label=label, pad=0.02, aspect=20, fraction=0.05)


def _draw_directions(axes: Axes, analysis: Analysis, moved: list[LayerMotion]) -> None:
    axes.set_title("Direction of each layer")
    _label(axes)
    if not moved or not len(moved[0].cosines):
        nothing_to_show(axes, "it takes three snapshots to turn")
        return
    if not any((layer.speeds > 0.0).any() for layer in moved):
        nothing_to_show(axes, "nothing moved")
        return
    rows = [binned(layer.cosines, MOST_COLUMNS) for layer in moved]
    edges = bin_edges(_steps(analysis)[1:], len(moved[0].cosines), MOST_COLUMNS)
    mesh = axes.pcolormesh(
        edges, np.arange(len(moved) + 1) - 0.5, np.array(rows), cmap=_DIRECTIONS,
        vmin=-1.0, vmax=1.0, rasterized=True,
    )  # fmt: skip
    _name_rows(axes, moved)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=20, fraction=0.05)
    bar.set_label("cosine of successive changes\n1: straight on, -1: back")


def _label(axes: Axes) -> None:
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("layer")


def _name_rows(axes: Axes, moved: list[LayerMotion]) -> None:
    axes.set_yticks(range(len(moved)), [fitting_name(layer.name) for layer in moved], fontsize=6.0)
    axes.set_ylim(len(moved) - 0.5, -0.5)
    axes.grid(False)
    axes.tick_params(axis="y", length=0.0, colors=INK)
    thousands(axes.xaxis)


def _steps(analysis: Analysis) -> Float64:
    window = analysis.window
    return analysis.description.steps[window.first : window.stop].astype(float)


def _resting(diagnosis: Diagnosis) -> dict[str, int]:
    """Return since which step each layer rests, as far as the finding rest says so."""
    for finding in diagnosis.findings:
        if isinstance(finding.evidence, RestEvidence):
            return {layer.layer: layer.since for layer in finding.evidence.resting}
    return {}
