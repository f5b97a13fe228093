"""Two trainings held against each other: how far apart, which spectra, which layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.comparison.distances import PARTS
from koopscope.comparison.results import Comparison, PairComparison, Side
from koopscope.inert import inert
from koopscope.report.figures.motion import plain_decades
from koopscope.report.figures.style import (
    COLORMAP,
    COLORS,
    DASHES,
    FAINT,
    INK,
    MARKERS,
    fitting_name,
    new_figure,
    nothing_to_show,
)

#: Layers named beside the map at most.
MOST_NAMES = 40

#: Colours end here, in usual seed distances; larger ones are told by the key's arrow.
_FARTHEST = 4.0

#: Eigenvalues farther out than this leave the picture of the spectra.
_OUTERMOST = 2.0

_COURSES = {
    "speed": "Speed",
    "directness": "Straightness",
    "remaining": "Way still to go",
}


def distances(found: Comparison) -> Figure:
    """Draw the distance of the weights over time, and the courses of the networks."""
    pair = found.foremost
    picture = new_figure(5.0)
    grid = picture.subplots(2, 2)
    _weights(grid[0, 0], pair)
    for axes, (name, title) in zip(grid.ravel()[1:], _COURSES.items(), strict=True):
        _course(axes, pair, name, title)
    grid[0, 1].legend(loc="best", fontsize=6.5)
    _title(picture, pair)
    return picture


def spectra(found: Comparison) -> Figure:
    """Draw the networks' spectra over each other."""
    pair = found.foremost
    picture = new_figure(3.8)
    whole, near = picture.subplots(1, 2)
    farthest = max(
        (abs(v) for side in _sides(pair) for own in side.eigenvalues for v in own), default=1.0
    )
    for axes, half, center, title in (
        (whole, min(max(1.12, 1.1 * farthest), _OUTERMOST), 0.0, "Spectra of the increments"),
        (near, 0.25, 0.9, "Near 1"),
    ):
        turn = np.linspace(0.0, 2.0 * np.pi, 361)
        axes.plot(np.cos(turn), np.sin(turn), color=FAINT, linewidth=0.8)
        axes.set_aspect("equal")
        axes.set_xlim(center - half, center + half)
        axes.set_ylim(-half, half)
        axes.set_title(title)
        axes.set_xlabel("Re λ (per compared snapshot)")
        axes.set_ylabel("Im λ")
        for side, style in zip(_sides(pair), _styles(), strict=False):
            values = np.concatenate(side.eigenvalues)
            axes.plot(
                values.real, values.imag, linestyle="none", marker=style["marker"],
                markerfacecolor="none", markeredgecolor=style["color"], markersize=6.0,
                markeredgewidth=1.2, label=fitting_name(_short(side)),
            )  # fmt: skip
    whole.legend(loc="lower left", fontsize=6.5)
    if not any(len(values) for side in _sides(pair) for values in side.eigenvalues):
        nothing_to_show(whole, "nothing moved")
    _title(picture, pair)
    return picture


def layers(found: Comparison) -> Figure:
    """Draw how far each layer is apart in each part, in usual seed distances."""
    pair = found.foremost
    scopes = [layer.distance for layer in pair.layers] or [pair.network]
    names = [scope.name for scope in scopes]
    values = np.array([[scope.value, *(scope.relative(p) for p in PARTS)] for scope in scopes])
    picture = new_figure(max(3.0, 1.9 + 0.22 * min(len(names), MOST_NAMES)))
    axes = picture.subplots()
    mesh = axes.pcolormesh(
        np.arange(values.shape[1]), np.arange(len(names)), values,
        cmap=COLORMAP, vmin=0.0, vmax=_FARTHEST, shading="nearest",
    )  # fmt: skip
    every = -(-len(names) // MOST_NAMES)
    axes.set_yticks(range(0, len(names), every), [fitting_name(n) for n in names[::every]])
    labels = ["distance", *(part.replace("_", " ") for part in PARTS)]
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.axvline(0.5, color="white", linewidth=2.0)
    axes.invert_yaxis()
    axes.grid(False)
    _write_numbers(axes, values)
    bar = picture.colorbar(mesh, ax=axes, extend="max", pad=0.01, aspect=30)
    bar.set_label("1: what another seed makes")
    _title(picture, pair)
    return picture


def _write_numbers(axes: Axes, values: npt.NDArray[np.float64]) -> None:
    """Write each number into its cell, where there are few enough to be read."""
    if len(values) > MOST_NAMES // 2:
        return
    for row, column in product(range(values.shape[0]), range(values.shape[1])):
        value = values[row, column]
        text = f"{value:.1f}" if value < 99.5 else ">99"
        ink = INK if value > _FARTHEST / 2.0 else "white"
        axes.text(column, row, text, ha="center", va="center", fontsize=6.0, color=ink)


def _weights(axes: Axes, pair: PairComparison) -> None:
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
    axes.legend(loc="best", fontsize=6.5)


def _course(axes: Axes, pair: PairComparison, name: str, title: str) -> None:
    axes.set_title(title)
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
    picture.suptitle(inert(f"{names}: {pair.verdict}"), fontsize=10)
