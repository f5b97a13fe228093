"""A finding as a dictionary, a drawing or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.finding import Finding
from koopscope.report.figures.convergence import draw_history
from koopscope.report.figures.style import BLUE, INK, VERMILION, nothing_to_show
from koopscope.report.json_values import native
from koopscope.report.objects.axes import drawing_on
from koopscope.report.objects.frames import frame

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ("code", "finding", "status", "value", "threshold", "unit", "message", "do")


def to_dict(finding: Finding) -> dict[str, Any]:
    """Return what the JSON report holds."""
    content: dict[str, Any] = native(finding.plain())
    return content


def row(finding: Finding) -> dict[str, Any]:
    """Return the finding as a row of a table with ``COLUMNS``."""
    return {
        "code": finding.code,
        "finding": finding.id,
        "status": finding.status,
        "value": finding.value,
        "threshold": finding.threshold,
        "unit": finding.unit,
        "message": finding.message,
        "do": finding.action.line or finding.hint or "",
    }


def plot(finding: Finding, ax: Axes | None) -> Axes:
    """Draw what it rests on: the history of the stop rule, or its value and its threshold."""
    with drawing_on(ax) as axes:
        if isinstance(finding.evidence, ConvergenceEvidence):
            draw_history(axes, finding)
        else:
            _draw_value(axes, finding)
        return axes


def _draw_value(axes: Axes, finding: Finding) -> None:
    axes.set_title(f"{finding.id}: {finding.status}")
    axes.set_xlabel(finding.unit or "value")
    axes.set_ylabel("")
    if finding.value is None:
        nothing_to_show(axes, finding.message)
        return
    color = VERMILION if finding.status in ("warn", "fail") else BLUE
    axes.barh([0], [finding.value], 0.5, color=color, edgecolor=INK, linewidth=0.5, label="value")
    if finding.threshold is not None:
        axes.axvline(
            finding.threshold, color=INK, linestyle="--", linewidth=0.9,
            label=f"threshold {finding.threshold:.4g}",
        )  # fmt: skip
    axes.set_yticks([0], [f"{finding.value:.4g}"])
    axes.set_ylim(-0.5, 1.0)
    axes.legend(loc="upper right", ncols=2)


def to_frame(finding: Finding) -> DataFrame:
    """Return one row."""
    return frame([row(finding)], COLUMNS)
