"""The index of a site of reports: one row per run, and the latest losses over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from koopscope.history.rows import Row
from koopscope.markup import Markup, element, figure, joined, table
from koopscope.report.html.charts import Curve, curves, line
from koopscope.report.html.document import document
from koopscope.report.html.statuses import STATUS_WORDS
from koopscope.report.json_values import plain

#: Runs whose courses are drawn over each other.
_DRAWN = 3


@dataclass(frozen=True)
class Entry:
    """A run of the site.

    Attributes
    ----------
    row
        What is known of it.
    page
        Its page, relative to the index.
    """

    row: Row
    page: str

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Entry:
        """Return an entry that was kept as JSON."""
        row = {**kept["row"], "course": tuple(kept["row"]["course"])}
        return cls(Row(**row), kept["page"])

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        form: dict[str, Any] = plain(asdict(self))
        return form


def index_page(entries: Sequence[Entry]) -> str:
    """Return the index as one HTML page; the runs in the order given."""
    heads = (
        "run",
        "verdict",
        "do",
        "loss",
        "last value",
        "last step",
        "snapshots",
        "weights",
        "date",
    )
    shown = table(
        f"{len(entries)} run{'' if len(entries) == 1 else 's'}",
        heads,
        [_cells(entry) for entry in entries],
        right=frozenset((4, 5, 6, 7)),
    )
    body = [element("h1", "Training runs"), _together(entries), shown]
    return document(
        "koopscope: training runs", joined(body), {"runs": [entry.plain() for entry in entries]}
    )


def _cells(entry: Entry) -> tuple[object, ...]:
    row = entry.row
    words = element("span", f"{STATUS_WORDS[row.worst]}: ", class_=f"tag {row.worst}")
    course = np.array(row.course, float)
    return (
        element("a", row.path, href=entry.page),
        joined([words, row.verdict]),
        row.do,
        line(f"{row.course_of} of {row.path}", course) if len(course) > 1 else "",
        "" if row.value is None else f"{row.metric} {row.value:.4g}",
        _whole(row.last_step),
        _whole(row.snapshots),
        _whole(row.parameters),
        row.date[:10],
    )


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _together(entries: Sequence[Entry]) -> Markup:
    """Draw the courses of the first few runs over each other, each from its start to its end."""
    drawn = [entry.row for entry in entries if entry.row.metric and len(entry.row.course) > 2]
    if len(drawn) < 2:
        return Markup("")
    places = np.linspace(0.0, 100.0, 101)
    lines = []
    for row in drawn[:_DRAWN]:
        own = np.linspace(0.0, 100.0, len(row.course))
        name = f"{row.metric} of {row.path.rpartition('/')[2]}"
        lines.append(Curve(name, np.interp(places, own, row.course)))
    picture = curves("The latest runs over each other", places, lines, unit="percent")
    return figure(picture, "The latest runs over each other, each from its start to its end.")
