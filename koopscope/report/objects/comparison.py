"""A comparison as a dictionary, a drawing or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from koopscope.comparison.distances import PARTS
from koopscope.comparison.results import Comparison
from koopscope.report.comparison import content
from koopscope.report.envelope import versioned
from koopscope.report.figures.comparison import (
    COURSES,
    draw_course,
    draw_layers,
    draw_spectra,
    draw_weights,
    scopes_of,
    whole_circle,
)
from koopscope.report.json_values import native
from koopscope.report.objects.axes import checked_choice, drawing_on
from koopscope.report.objects.frames import frame

if TYPE_CHECKING:
    from pandas import DataFrame

#: What can be drawn.
PANELS = ("weights", *COURSES, "spectra", "layers")

_COLUMNS = (
    "first",
    "second",
    "verdict",
    "layer",
    "parameters",
    "distance",
    *PARTS,
    "parts_at_step",
)


def to_dict(found: Comparison) -> dict[str, Any]:
    """Return what the JSON report holds, arrays as NumPy arrays and NaN as it is."""
    made: dict[str, Any] = native(versioned(content(found)))
    return made


def plot(found: Comparison, panel: str, ax: Axes | None) -> Axes:
    """Draw one panel of the figures of the foremost pair."""
    checked_choice(panel, PANELS, "panel")
    pair = found.foremost
    with drawing_on(ax) as axes:
        if panel == "weights":
            draw_weights(axes, pair)
        elif panel == "spectra":
            draw_spectra(axes, pair, whole_circle(pair))
            axes.legend(loc="best")
        elif panel == "layers":
            draw_layers(axes, scopes_of(pair))
        else:
            draw_course(axes, pair, panel)
            axes.legend(loc="best")
        return axes


def to_frame(found: Comparison) -> DataFrame:
    """Return one row for each layer of each pair; one for the network where layers differ."""
    rows = []
    for pair in found.pairs:
        beside = {"first": pair.first.name, "second": pair.second.name, "verdict": pair.verdict}
        for layer in pair.layers:
            rows.append(
                {
                    **beside,
                    "layer": layer.name,
                    "parameters": layer.size,
                    "distance": layer.distance.value,
                    **dict(zip(PARTS, layer.distance.parts, strict=True)),
                    "parts_at_step": layer.parts_at_step,
                }
            )
        if not pair.layers:
            own = pair.network
            parts = dict(zip(PARTS, own.parts, strict=True))
            rows.append({**beside, "layer": "network", "distance": own.value, **parts})
    return frame(rows, _COLUMNS)
