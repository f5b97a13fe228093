"""A signal, and the scales of the layers that it asks for."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from koopscope.inert import inert
from koopscope.report.figures.style import (
    BLUE,
    DASHES,
    FAINT,
    VERMILION,
    entitle,
    nothing_to_show,
    panels,
    plain_decades,
)
from koopscope.report.scales import TITLES, ScalesReport

#: How each method is drawn: colour, marker and dash, in the order they were asked for.
_STYLES = ((BLUE, "o", DASHES[0]), (VERMILION, "s", DASHES[1]))


def figure(report: ScalesReport) -> Figure:
    """Draw the picture: the samples, and each method's scales from coarse to fine."""
    picture, (left, right) = panels(2, 2.1)
    _samples(left, report)
    _scales(right, report)
    layers = " or ".join(dict.fromkeys(str(found.layers) for found in report.found))
    entitle(picture, f"{inert(PurePath(report.signal.path).name)} asks for {layers} layers")
    return picture


def _samples(axes: Axes, report: ScalesReport) -> None:
    axes.set_title("Signal")
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    values = report.signal.values
    axes.plot(report.signal.spacing * np.arange(len(values)), values, color=BLUE, linewidth=0.9)


def _scales(axes: Axes, report: ScalesReport) -> None:
    axes.set_title("Scale of each layer")
    axes.set_xlabel("layer, coarse to fine")
    axes.set_ylabel("scale, in units of x")
    if not any(found.layers for found in report.found):
        nothing_to_show(axes, "no frequency above zero was found")
        return
    for found, (color, marker, dash) in zip(report.found, _STYLES, strict=False):
        label = f"{TITLES[found.method]}: {found.layers} layers"
        layers = np.arange(1, found.layers + 1)
        axes.plot(layers, found.scales, dash, marker=marker, color=color, label=label)
    axes.axhline(
        2.0 * report.signal.spacing, color=FAINT, linewidth=0.8, linestyle=":",
        label="two samples",
    )  # fmt: skip
    axes.set_yscale("log")
    plain_decades(axes.yaxis, *axes.get_ylim())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
