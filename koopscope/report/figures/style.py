"""One look for all pictures: legible in print, in black and white, and without colour vision.

Colour only ever repeats what position, size, marker or line style already say. Nothing here may
import ``pyplot`` or leave a setting behind.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import cycle, product
from pathlib import PurePath
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from koopscope.analysis.analysis import Analysis
from koopscope.inert import inert
from koopscope.report.figure_sizes import USUAL, WIDTHS, FigureSize

#: Characters of a layer's name beside a picture, by the figure's size.
LONGEST_NAME = {"two-column": 32, "one-column": 18}

#: Characters of a title to an inch of width.
_TITLE_CHARACTERS = 15.0

#: Up to this ratio of largest to smallest, 2 and 5 of each decade are named as well.
FEW_DECADES = 300.0

#: Lines of a title at most.
_TITLE_LINES = 2

INK = "#1a1a1a"
FAINT = "#9a9a9a"

#: Dark to light, perceptually uniform, the same for readers with and without red-green vision.
COLORMAP = "cividis"

_RESIDUALS = ScalarMappable(Normalize(0.0, 1.0), COLORMAP)

#: Okabe and Ito's palette without its yellow, dark and light in turn.
BLUE, ORANGE, VERMILION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
COLORS = (BLUE, ORANGE, "#000000", "#56B4E9", VERMILION, GREEN, "#CC79A7")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_SETTINGS: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 7.5,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.5,
    "legend.handlelength": 2.2,
    "legend.labelspacing": 0.3,
    "legend.borderaxespad": 0.3,
    "figure.constrained_layout.h_pad": 0.06,
    "savefig.dpi": 300,
    # The same picture gives the same bytes.
    "svg.hashsalt": "koopscope",
    "svg.fonttype": "none",
    # A dollar in a name is a dollar, not the beginning of a formula.
    "text.parse_math": False,
    "pdf.fonttype": 42,
}

#: Dates are what would make two files of one picture differ.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


_SIZE: ContextVar[FigureSize] = ContextVar("figure_size", default=USUAL)


@contextmanager
def styled(size: FigureSize = USUAL) -> Iterator[None]:
    """Return a context in which figures have this look and are as wide as one or both columns."""
    chosen = _SIZE.set(size)
    try:
        with matplotlib.rc_context(_SETTINGS):
            yield
    finally:
        _SIZE.reset(chosen)


def is_narrow() -> bool:
    """Whether figures are made for one column of a page: then panels stand below each other."""
    return _SIZE.get() == "one-column"


def new_figure(height: float, width: float | None = None) -> Figure:
    """Return an empty figure of this size in inches, drawn without a display."""
    figure = Figure(figsize=(width or WIDTHS[_SIZE.get()], height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(count: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels, two beside each other or one below the other.

    Parameters
    ----------
    count
        How many panels.
    height
        Of one row of panels, in inches; the title comes on top.
    options
        Of ``Figure.subplots``.
    """
    columns = 1 if is_narrow() else min(2, count)
    rows = -(-count // columns)
    figure = new_figure(0.35 + rows * height)
    grid = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for unused in grid[count:]:
        figure.delaxes(unused)
    return figure, grid[:count]


def entitle(figure: Figure, *lines: str) -> None:
    """Write the title of a whole figure, each line broken where the figure is too narrow for it."""
    characters = int(_TITLE_CHARACTERS * float(figure.get_figwidth()))
    broken = [
        part
        for line in lines
        for part in textwrap.wrap(inert(line), characters, max_lines=_TITLE_LINES, placeholder=" …")
    ]
    figure.suptitle("\n".join(broken), x=0.01, ha="left", fontsize=8.5)


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
    below = is_narrow() and len(axes) > 1
    bar = figure.colorbar(
        _RESIDUALS,
        ax=axes,
        extend="max",
        shrink=0.7,
        aspect=25,
        pad=0.02,
        fraction=0.05,
        location="bottom" if below else "right",
    )
    bar.set_label("residual of the eigenpair")


def area_of_share(share: float) -> float:
    """Return a marker's area in square points: proportional to the share, but never invisible."""
    area = 7.0 + 420.0 * share
    return area / 2.5 if is_narrow() else area


def run_name(analysis: Analysis) -> str:
    """Return the run's file name for a title; folders would not fit."""
    return inert(PurePath(analysis.description.path).name)


def fitting_name(name: str) -> str:
    """Return a layer's name as a key has room for it: the end tells names apart."""
    name, longest = inert(name), LONGEST_NAME[_SIZE.get()]
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def nothing_to_show(axes: Axes, why: str) -> None:
    """Say in the middle of empty axes why they are empty; a scale would be of nothing."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    broken = "\n".join(textwrap.wrap(why, 40))
    axes.text(0.5, 0.5, broken, transform=axes.transAxes, ha="center", va="center", color=INK)


def plain_decades(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers: formulas are switched off in these pictures."""
    axis.set_major_formatter(FuncFormatter(_plain_number))
    few = 0.0 < low < high < FEW_DECADES * low
    axis.set_minor_formatter(FuncFormatter(_plain_minor) if few else NullFormatter())


def _plain_number(value: float, position: float | None = None) -> str:
    return f"{value:g}"


def _plain_minor(value: float, position: float | None = None) -> str:
    """Name 2 and 5 of each decade; more would crowd the axis."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def thousands(axis: Axis) -> None:
    """Write the steps along an axis with commas, as all reports do, and not too many of them."""
    axis.set_major_locator(MaxNLocator(4 if is_narrow() else 5, integer=True))
    axis.set_major_formatter(FuncFormatter(_with_commas))


def _with_commas(value: float, position: float | None = None) -> str:
    return f"{value:,.0f}"
