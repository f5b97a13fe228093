"""The index of a site of reports: one row per run, and the latest losses over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.next_step import by_importance
from koopscope.markup import Markup, element, figure, joined, table
from koopscope.report.html.charts import Curve, curves, line
from koopscope.report.html.document import document
from koopscope.report.html.statuses import STATUS_WORDS
from koopscope.report.json_values import plain
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES

#: Points that are kept of a loss, enough for a line as wide as a word.
_POINTS = 40

#: Runs whose losses are drawn over each other.
_DRAWN = 3


@dataclass(frozen=True)
class Row:
    """What the index says of one run; plain values, since it is kept as JSON.

    Attributes
    ----------
    path, page
        The run as it was named, and its page, relative to the index.
    date
        When its file was last written, as YYYY-MM-DD; empty where there is no one file.
    status, state, do
        The worst status, and the first and the third line of the first screen.
    steps, snapshots, weights
        The last step, and sizes.
    loss, values
        Name of the loss that is shown, validation first, and up to 40 of its values over time.
    """

    path: str
    page: str
    date: str
    status: str
    state: str
    do: str
    steps: int
    snapshots: int
    weights: int
    loss: str = ""
    values: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, diagnosis: Diagnosis, page: str, date: str) -> Row:
        """Return the row of a run that was just judged."""
        run, look = diagnosis.analysis.description, diagnosis.first_look
        name, values = _shown_loss(run.metrics)
        return cls(
            path=run.path,
            page=page,
            date=date,
            status=by_importance(diagnosis.findings)[0].status,
            state=look.state,
            do=look.do,
            steps=int(run.steps[-1]),
            snapshots=run.snapshots,
            weights=run.parameters,
            loss=name,
            values=values,
        )

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Row:
        """Return a row that was kept as JSON."""
        return cls(**{**kept, "values": tuple(kept["values"])})

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        form: dict[str, Any] = plain(asdict(self))
        return form


def _shown_loss(metrics: Mapping[str, Any]) -> tuple[str, tuple[float | None, ...]]:
    for name in (*VALIDATION_LOSSES, *TRAINING_LOSSES):
        values = metrics.get(name)
        if values is not None and np.isfinite(values).any():
            chosen = np.unique(np.linspace(0, len(values) - 1, _POINTS).round().astype(int))
            return name, tuple(
                float(f"{value:.5g}") if np.isfinite(value) else None for value in values[chosen]
            )
    return "", ()


def page_of_rows(rows: Sequence[Row]) -> str:
    """Return the index as one HTML page; the rows in the order given."""
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
        f"{len(rows)} run{'' if len(rows) == 1 else 's'}",
        heads,
        [_cells(row) for row in rows],
        right=frozenset((4, 5, 6, 7)),
    )
    body = [element("h1", "Training runs"), _together(rows), shown]
    return document("koopscope: training runs", joined(body), {"runs": [r.plain() for r in rows]})


def _cells(row: Row) -> tuple[object, ...]:
    words = element("span", f"{STATUS_WORDS[row.status]}: ", class_=f"tag {row.status}")
    values = np.array([np.nan if value is None else value for value in row.values], float)
    finite = values[np.isfinite(values)]
    return (
        element("a", row.path, href=row.page),
        joined([words, row.state]),
        row.do,
        line(f"{row.loss} of {row.path} over time", values) if len(finite) > 1 else "",
        f"{finite[-1]:.4g}" if len(finite) else "",
        f"{row.steps:,}",
        f"{row.snapshots:,}",
        f"{row.weights:,}",
        row.date,
    )


def _together(rows: Sequence[Row]) -> Markup:
    """Draw the losses of the first few runs over each other, each from its start to its end."""
    drawn = [row for row in rows if len(row.values) > 2][:_DRAWN]
    if len(drawn) < 2:
        return Markup("")
    places = np.linspace(0.0, 100.0, 101)
    lines = []
    for row in drawn:
        values = np.array([np.nan if value is None else value for value in row.values], float)
        own = np.linspace(0.0, 100.0, len(values))
        lines.append(
            Curve(f"{row.loss} of {row.path.rpartition('/')[2]}", np.interp(places, own, values))
        )
    picture = curves("Losses of the latest runs over each other", places, lines, unit="percent")
    return figure(picture, "The latest runs over each other, each from its start to its end.")
