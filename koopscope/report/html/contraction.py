"""The fixed point of an iterated operator as a page: the sentence, then the tables."""

from __future__ import annotations

from koopscope.report import contraction
from koopscope.report.contraction import ContractionReport
from koopscope.report.html.printed import printed
from koopscope.report.text.terminal_style import Page


def render(report: ContractionReport, page: Page) -> str:
    """Return the report as one HTML page."""
    return printed(
        f"Iterates of {report.analysis.description.path}",
        report.findings[0].message,
        contraction.render(report, Page(width=92)),
        contraction.document(report),
    )
