"""One look for all pictures: legible in print, in black and white, and without colour vision.

Colour only ever repeats what position, size, marker or line style already say. Nothing here may
import ``pyplot`` or leave a setting behind.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import cycle, product
from pathlib import PurePath
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from koopscope.analysis.analysis import Analysis

#: Width of a page's text block, in inches.
PAGE_WIDTH = 7.2

#: Characters of a layer's name beside a picture.
LONGEST_NAME = 32

INK = "#1a1a1a"
FAINT = "#9a9a9a"

#: Dark to light, perceptually uniform, the same for readers with and without red-green vision.
COLORMAP = "cividis"

_RESIDUALS = ScalarMappable(Normalize(0.0, 1.0), COLORMAP)

#: Okabe and Ito's palette without its yellow, dark and light in turn.
COLORS = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#009E73", "#CC79A7")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_SETTINGS: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8.0,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "figure.constrained_layout.h_pad": 0.08,
    "savefig.dpi": 200,
    # The same picture gives the same bytes.
    "svg.hashsalt": "koopscope",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}

#: Dates are what would make two files of one picture differ.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def styled() -> AbstractContextManager[None]:
    """Return a context in which figures have this look."""
    return matplotlib.rc_context(_SETTINGS)


def new_figure(height: float, width: float = PAGE_WIDTH) -> Figure:
    """Return an empty figure of this size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_bytes(figure: Figure, file_format: str) -> bytes:
    """Return a figure as the bytes of a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, metadata=_METADATA[file_format])
    return buffer.getvalue()


def line_styles() -> Iterator[dict[str, Any]]:
    """Yield styles that differ in dash and marker as well as in colour."""
    markers = cycle(MARKERS)
    for dash, color in cycle(product(DASHES, COLORS)):
        yield {"color": color, "linestyle": dash, "marker": next(markers)}


def residual_colors(residuals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return RGBA rows: dark where the eigenpair fits its data, light where it does not."""
    colors: npt.NDArray[np.float64] = _RESIDUALS.to_rgba(residuals)
    return colors


def residual_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    """Add the key of the residual colours beside some axes."""
    bar = figure.colorbar(_RESIDUALS, ax=axes, extend="max", shrink=0.6, aspect=25, pad=0.02)
    bar.set_label("residual of the eigenpair, relative")


def area_of_share(share: float) -> float:
    """Return a marker's area in square points: proportional to the share, but never invisible."""
    return 7.0 + 420.0 * share


def run_name(analysis: Analysis) -> str:
    """Return the run's file name for a title; folders would not fit."""
    return PurePath(analysis.description.path).name


def fitting_name(name: str) -> str:
    """Return a layer's name as a key has room for it: the end tells names apart."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def nothing_to_show(axes: Axes, why: str) -> None:
    """Say in the middle of empty axes why they are empty; a scale would be of nothing."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=INK, wrap=True
    )
