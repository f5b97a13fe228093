"""A forecast as a dictionary, a drawing or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from koopscope.forecasting.results import Forecast
from koopscope.report.envelope import versioned
from koopscope.report.figures.forecast import draw_errors, draw_fan
from koopscope.report.forecast import content
from koopscope.report.json_values import native
from koopscope.report.objects.axes import checked_choice, drawing_on
from koopscope.report.objects.frames import frame

if TYPE_CHECKING:
    from pandas import DataFrame

#: What can be drawn.
PANELS = ("errors", "coordinate-1", "coordinate-2")

_COLUMNS = ("steps", "horizon", "tested", "kind", "median", "low", "high", "better")


def to_dict(found: Forecast) -> dict[str, Any]:
    """Return what the JSON report holds, arrays as NumPy arrays and NaN as it is."""
    made: dict[str, Any] = native(versioned(content(found)))
    return made


def plot(found: Forecast, panel: str, ax: Axes | None) -> Axes:
    """Draw the errors of past forecasts, or one leading coordinate."""
    checked_choice(panel, PANELS, "panel")
    with drawing_on(ax) as axes:
        if panel == "errors":
            draw_errors(axes, found)
        else:
            draw_fan(axes, found, PANELS.index(panel) - 1)
        return axes


def to_frame(found: Forecast) -> DataFrame:
    """Return one row for each horizon and kind of forecast that past moments test."""
    rows = []
    test = found.backtest
    for index, horizon in enumerate(test.horizons):
        for kind in test.errors:
            score = test.score(kind, index)
            if score is not None:
                rows.append(
                    {
                        "steps": float(horizon * found.plan.spacing_steps),
                        "horizon": int(horizon),
                        "tested": test.tested(index),
                        "kind": kind,
                        **vars(score),
                    }
                )
    return frame(rows, _COLUMNS)
