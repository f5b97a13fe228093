"""The one list of formats a report can be written in.

A new format is one module with ``render(report, page) -> str`` and one line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koopscope.report.analysis_report import Report
    from koopscope.report.text.terminal_style import Page

#: name -> module with ``render``. A module is imported only when its format is asked for.
FORMATS = {
    "table": "koopscope.report.analysis_text",
    "json": "koopscope.report.analysis_json",
}


def render(report: Report, name: str, page: Page) -> str:
    """Return the report in a format, ending in a newline."""
    text: str = import_module(FORMATS[name]).render(report, page)
    return text if text.endswith("\n") else text + "\n"
