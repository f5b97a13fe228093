"""The one list of reports and of the formats each can be written in.

A report is data; a format is a module that makes text of it. A module for ``json`` has
``document(data) -> JsonObject``; every other has ``render(data, page) -> str``. A new report or
format is one module and one line here. Nothing in this package decides or computes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.report.text.terminal_style import Page

_HERE = "koopscope.report"

#: report -> format -> module, imported when it is asked for. The first format is the usual one.
REPORTS: Mapping[str, Mapping[str, str]] = {
    "analysis": {
        "table": f"{_HERE}.analysis_text",
        "json": f"{_HERE}.analysis_json",
        "html": f"{_HERE}.html.analysis",
    },
    "gate": {
        "table": f"{_HERE}.gate.text",
        "json": f"{_HERE}.gate.json",
        "junit": f"{_HERE}.gate.junit",
        "markdown": f"{_HERE}.gate.markdown",
        "github": f"{_HERE}.gate.github",
        "html": f"{_HERE}.html.gate",
    },
    "comparison": {
        "table": f"{_HERE}.comparison",
        "json": f"{_HERE}.comparison",
        "markdown": f"{_HERE}.comparison_markdown",
        "html": f"{_HERE}.html.comparison",
    },
    "history": {"table": f"{_HERE}.history", "json": f"{_HERE}.history"},
    "inspection": {"table": f"{_HERE}.inspection", "json": f"{_HERE}.inspection"},
    "pruning": {
        "table": f"{_HERE}.pruning",
        "json": f"{_HERE}.pruning",
        "html": f"{_HERE}.html.pruning",
    },
    "forecast": {
        "table": f"{_HERE}.forecast",
        "json": f"{_HERE}.forecast",
        "html": f"{_HERE}.html.forecast",
    },
    "contraction": {
        "table": f"{_HERE}.contraction",
        "json": f"{_HERE}.contraction",
        "html": f"{_HERE}.html.contraction",
    },
    "scales": {"table": f"{_HERE}.scales", "json": f"{_HERE}.scales"},
}


def formats(report: str) -> tuple[str, ...]:
    """Return the formats a report can be written in, the usual one first."""
    return tuple(REPORTS[report])


def render(report: str, data: Any, form: str, page: Page) -> str:
    """Return a report in a format, ending in a newline.

    Parameters
    ----------
    report
        One of ``REPORTS``.
    data
        What this report is made of; see its module.
    form
        One of the report's formats.
    page
        What the reader's terminal can show.

    Raises
    ------
    KoopscopeError
        If the report has no such format.
    """
    if form not in REPORTS[report]:
        raise KoopscopeError(
            f"{report} has no format {form!r}", f"choose one of {', '.join(formats(report))}"
        )
    module = import_module(REPORTS[report][form])
    if form == "json":
        from koopscope.report.envelope import dumped

        return dumped(module.document(data))
    text: str = module.render(data, page)
    return text if text.endswith("\n") else text + "\n"
