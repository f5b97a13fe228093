"""Two trainings held against each other: how far apart, which spectra, which layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.comparison.distances import PARTS, Distance
from koopscope.comparison.results import Comparison, PairComparison, Side
from koopscope.report.figures.eigenvalues import NEAR_ONE, Frame, draw_frame
from koopscope.report.figures.style import (
    COLORMAP,
    COLORS,
    DASHES,
    FAINT,
    INK,
    MARKERS,
    entitle,
    fitting_name,
    is_narrow,
    new_figure,
    nothing_to_show,
    panels,
    plain_decades,
    thousands,
)

#: Layers named beside the map at most.
MOST_NAMES = 40

#: Colours end here, in usual seed distances; larger ones are told by the key's arrow.
_FARTHEST = 4.0

#: Eigenvalues farther out than this leave the picture of the spectra.
_OUTERMOST = 2.0

#: Statistics of the networks over time, and their titles.
COURSES = {
    "speed": "Speed",
    "directness": "Straightness",
    "remaining": "Way still to go",
}


def distances(found: Comparison) -> Figure:
    """Draw the distance of the weights over time, and the courses of the networks."""
    pair = found.foremost
    picture, grid = panels(1 + len(COURSES), 1.7)
    draw_weights(grid[0], pair)
    for axes, name in zip(grid[1:], COURSES, strict=True):
        draw_course(axes, pair, name)
    grid[1].legend(loc="best")
    _title(picture, pair)
    return picture


def spectra(found: Comparison) -> Figure:
    """Draw the networks' spectra over each other."""
    pair = found.foremost
    picture, (whole, near) = panels(2, 2.1)
    draw_spectra(whole, pair, whole_circle(pair))
    draw_spectra(near, pair, NEAR_ONE)
    near.set_title("Near 1")
    whole.legend(loc="upper left")
    _title(picture, pair)
    return picture


def whole_circle(pair: PairComparison) -> Frame:
    """Return the frame of the upper half of the unit circle, wider where eigenvalues lie out."""
    farthest = max(
        (abs(v) for side in _sides(pair) for own in side.eigenvalues for v in own), default=1.0
    )
    half = min(max(1.12, 1.1 * farthest), _OUTERMOST)
    return Frame(-half, half, -0.1 * half, half)


def draw_spectra(axes: Axes, pair: PairComparison, frame: Frame) -> None:
    """Draw the upper halves of both spectra into one frame; the lower ones mirror them."""
    draw_frame(axes, frame, "per compared snapshot")
    axes.set_title("Spectra of the increments")
    for side, style in zip(_sides(pair), _styles(), strict=False):
        values = np.concatenate(side.eigenvalues)
        upper = values[values.imag >= 0.0]
        axes.plot(
            upper.real, upper.imag, linestyle="none", marker=style["marker"],
            markerfacecolor="none", markeredgecolor=style["color"], markersize=4.5,
            markeredgewidth=1.1, label=fitting_name(_short(side)),
        )  # fmt: skip
    if not any(len(values) for side in _sides(pair) for values in side.eigenvalues):
        nothing_to_show(axes, "nothing moved")


def layers(found: Comparison) -> Figure:
    """Draw how far each layer is apart in each part, in usual seed distances."""
    pair = found.foremost
    scopes = scopes_of(pair)
    names = [scope.name for scope in scopes]
    picture = new_figure(max(2.4, 1.5 + 0.16 * min(len(names), MOST_NAMES)))
    draw_layers(picture.subplots(), scopes)
    _title(picture, pair)
    return picture


def scopes_of(pair: PairComparison) -> list[Distance]:
    """Return the distances of the layers, or of the networks where no layer is in both."""
    return [layer.distance for layer in pair.layers] or [pair.network]


def draw_layers(axes: Axes, scopes: Sequence[Distance]) -> None:
    """Draw a map of distances: a row for each layer, a column for each part of a distance."""
    axes.set_title("Distance of each layer, in usual seed distances")
    axes.set_xlabel("all together, and part by part")
    axes.set_ylabel("layer")
    names = [scope.name for scope in scopes]
    values = np.array([[scope.value, *(scope.relative(p) for p in PARTS)] for scope in scopes])
    mesh = axes.pcolormesh(
        np.arange(values.shape[1] + 1) - 0.5, np.arange(len(names) + 1) - 0.5, values,
        cmap=COLORMAP, vmin=0.0, vmax=_FARTHEST, rasterized=True,
    )  # fmt: skip
    every = -(-len(names) // MOST_NAMES)
    axes.set_yticks(range(0, len(names), every), [fitting_name(n) for n in names[::every]])
    labels = ["distance", *(part.replace("_", " ") for part in PARTS)]
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.axvline(0.5, color="white", linewidth=2.0)
    axes.invert_yaxis()
    axes.grid(False)
    _write_numbers(axes, values)
    bar = axes.figure.colorbar(mesh, ax=axes, extend="max", pad=0.01, aspect=25, fraction=0.05)
    bar.set_label("1: what another seed makes")


def _write_numbers(axes: Axes, values: npt.NDArray[np.float64]) -> None:
    """Write each number into its cell, where there are few enough to be read."""
    if len(values) > MOST_NAMES // 2:
        return
    size = 4.5 if is_narrow() else 6.0
    for row, column in product(range(values.shape[0]), range(values.shape[1])):
        value = values[row, column]
        text = f"{value:.1f}" if value < 99.5 else ">99"
        ink = INK if value > _FARTHEST / 2.0 else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)


def draw_weights(axes: Axes, pair: PairComparison) -> None:
    """Draw how far the weights of two runs are apart at every compared step."""
    axes.set_title("Distance of the weights")
    axes.set_xlabel("optimizer step")
    found = pair.parting
    if found is None:
        nothing_to_show(axes, "not held against each other:\nrepeats, or another network")
        return
    shown = np.where(found.distances > 0.0, found.distances, np.nan)
    if not np.isfinite(shown).any():
        nothing_to_show(axes, "the weights are the same numbers")
        return
    axes.plot(found.steps, shown, color=INK, marker="o", markersize=2.0, label="distance")
    axes.plot(found.steps, found.rounding, color=FAINT, linestyle=":", label="rounding")
    _log_scale(axes)
    if found.parts_at_step is not None and found.parts_at_step > found.steps[0]:
        axes.axvline(found.parts_at_step, color=COLORS[0], linewidth=0.8, linestyle="--")
        axes.annotate(
            f"apart at {found.parts_at_step:,}", (found.parts_at_step, 0.02), (3, 0),
            xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=6.5,
        )  # fmt: skip
    thousands(axes.xaxis)
    axes.legend(loc="best")


def draw_course(axes: Axes, pair: PairComparison, name: str) -> None:
    """Draw how a statistic of both networks went: ``speed``, ``directness`` or ``remaining``."""
    axes.set_title(COURSES[name])
    by_step = pair.timeline.way == "step"
    axes.set_xlabel("optimizer step" if by_step else "step of the first run")
    for side, style in zip(_sides(pair), _styles(), strict=False):
        label: str | None = fitting_name(_short(side))
        for courses in side.courses:
            values = courses[name]
            shown = np.exp(values) if name == "speed" else values
            axes.plot(  # nothing has moved yet at the first snapshot
                pair.timeline.steps[1:], shown[1:], color=style["color"],
                linestyle=style["linestyle"], linewidth=1.0, label=label,
            )  # fmt: skip
            label = None
    if name == "speed":
        axes.set_ylabel("relative to the run's mean")
        _log_scale(axes)
    else:
        axes.set_ylim(bottom=0.0)
    thousands(axes.xaxis)


def _log_scale(axes: Axes) -> None:
    axes.set_yscale("log")
    plain_decades(axes.yaxis, *axes.get_ylim())


def _sides(pair: PairComparison) -> tuple[Side, Side]:
    return pair.first, pair.second


def _styles() -> Iterator[dict[str, Any]]:
    for k in range(2):
        yield {"color": COLORS[(0, 4)[k]], "linestyle": DASHES[k], "marker": MARKERS[k]}


def _short(side: Side) -> str:
    return PurePath(side.name).name if len(side.runs) == 1 else side.name


def _title(picture: Figure, pair: PairComparison) -> None:
    names = " against ".join(fitting_name(_short(side)) for side in _sides(pair))
    entitle(picture, f"{names}: {pair.verdict}")
