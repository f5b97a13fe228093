"""A diagnosis as a dictionary, a drawing or a table."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.report.analysis_json import run_content
from koopscope.report.envelope import versioned
from koopscope.report.figure_sizes import WIDTHS, FigureSize
from koopscope.report.figures.style import styled, to_bytes
from koopscope.report.figures.summary import PANELS
from koopscope.report.json_values import native
from koopscope.report.objects.axes import checked_choice, drawing_on
from koopscope.report.objects.finding import COLUMNS, row
from koopscope.report.objects.frames import frame
from koopscope.report.pictures import PICTURE_FORMATS, PICTURES, drawn

if TYPE_CHECKING:
    from pandas import DataFrame


def to_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what the JSON report holds, arrays as NumPy arrays and NaN as it is."""
    content: dict[str, Any] = native(versioned(run_content(diagnosis)))
    return content


def plot(diagnosis: Diagnosis, panel: str, ax: Axes | None) -> Axes:
    """Draw one panel of the summary."""
    checked_choice(panel, PANELS, "panel")
    with drawing_on(ax) as axes:
        next(draw for name, draw in PANELS.items() if name == panel)(axes, diagnosis)
        return axes


def figure(
    diagnosis: Diagnosis, name: str, size: FigureSize, file: str | PathLike[str] | None
) -> Figure:
    """Draw a whole figure, and write it to a file if one is named."""
    checked_choice(name, PICTURES, "figure")
    checked_choice(size, WIDTHS, "size")
    with styled(size):
        whole = drawn(name, diagnosis)
        if file is not None:
            place = Path(file)
            suffix = place.suffix.removeprefix(".").lower()
            if suffix not in PICTURE_FORMATS:
                raise KoopscopeError(
                    f"{place} does not end as a figure does",
                    f"end it in one of {', '.join(f'.{each}' for each in PICTURE_FORMATS)}",
                )
            place.write_bytes(to_bytes(whole, suffix))
    return whole


def to_frame(diagnosis: Diagnosis) -> DataFrame:
    """Return one row for each finding."""
    return frame([row(finding) for finding in diagnosis.findings], COLUMNS)
