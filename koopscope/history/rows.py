"""One row per run: when, how long, what the verdicts were, and the numbers that matter.

A row comes from a diagnosis, or from a report that was stored as JSON; nothing else is kept
anywhere. Files are untrusted: what a report does not say is left empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.scope import NETWORK
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.gate.baseline import stored_runs

#: From good to bad; a row is as bad as its worst finding.
STATUSES = ("pass", "info", "inconclusive", "warn", "fail")

#: Metrics that a row may show, in order of preference.
METRICS = ("val_loss", "loss", "val_accuracy", "accuracy")

#: Points of the course that a row keeps.
POINTS = 60

KEYS = ("date", "path", "steps", "worst", "state", "metric")


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes
    ----------
    path, source
        Where it was found, and what was read: ``run`` or ``report``.
    date
        When the file was last changed, ISO 8601 in UTC to the second.
    snapshots, first_step, last_step, parameters
        Of the run.
    statuses
        Each finding's status by its id.
    state
        Of convergence: training, converged, stalled, diverging, inconclusive; ``None`` if unknown.
    stop_step
        The step at which training could have stopped.
    metric, value
        The first of ``METRICS`` that was recorded, and its last finite value.
    course
        That metric over the run, or else the speed of the weights; empty of a report.
    course_of
        Which of both.
    verdict, do
        The run's state and what to do next, in words; empty where the report does not say.
    """

    path: str
    source: str
    date: str
    snapshots: int | None
    first_step: int | None
    last_step: int | None
    parameters: int | None
    statuses: Mapping[str, str]
    state: str | None
    stop_step: int | None
    metric: str | None
    value: float | None
    course: tuple[float, ...] = ()
    course_of: str | None = None
    verdict: str = ""
    do: str = ""

    @property
    def worst(self) -> str:
        """The worst status of all findings."""
        known = [status for status in self.statuses.values() if status in STATUSES]
        return max(known, key=STATUSES.index, default="inconclusive")

    def count(self, status: str) -> int:
        """Return how many findings have a status."""
        return sum(each == status for each in self.statuses.values())


@dataclass(frozen=True)
class History:
    """Rows in the order wanted, and what could not be read."""

    rows: tuple[Row, ...]
    failures: tuple[tuple[str, KoopscopeError], ...] = ()


def row_of(diagnosis: Diagnosis, file: Path | None) -> Row:
    """Return the row of a run that was just judged."""
    run = diagnosis.analysis.description
    convergence = next((f for f in diagnosis.findings if f.id == "convergence"), None)
    evidence = convergence.evidence.plain() if convergence is not None else {}
    metric, values = _metric(run.metrics)
    course = values if metric is not None else diagnosis.analysis.gram(NETWORK).speeds()
    finite = course[np.isfinite(course)]
    return Row(
        path=run.path,
        source="run",
        date=_date(file),
        snapshots=run.snapshots,
        first_step=int(run.steps[0]),
        last_step=int(run.steps[-1]),
        parameters=run.parameters,
        statuses={finding.id: finding.status for finding in diagnosis.findings},
        state=_text(evidence.get("state")),
        stop_step=_whole(evidence.get("stop_step")),
        metric=metric,
        value=float(finite[-1]) if metric is not None and len(finite) else None,
        course=tuple(float(value) for value in _thinned(finite)),
        course_of=metric or "speed of the weights",
        verdict=diagnosis.first_look.state,
        do=diagnosis.first_look.do,
    )


def rows_of_report(path: Path) -> list[Row]:
    """Return a row for every run of a stored report.

    Raises
    ------
    KoopscopeError
        If it is not a report of koopscope, or of another schema.
    """
    return [_of_document(document, path) for document in stored_runs(path)]


def _of_document(document: Mapping[str, Any], path: Path) -> Row:
    run = document["run"]
    findings = document["findings"]
    found: Mapping[str, Any] = next((f for f in findings if f.get("id") == "convergence"), {})
    evidence = found.get("evidence")
    evidence = evidence if isinstance(evidence, Mapping) else {}
    step = run.get("next")
    step = step if isinstance(step, Mapping) else {}
    metrics = run.get("metrics") or {}
    metric = next((name for name in METRICS if name in metrics), None)
    value = _number(metrics[metric].get("last")) if metric is not None else None
    return Row(
        path=_text(run.get("path")) or str(path),
        source="report",
        date=_date(path),
        snapshots=_whole(run.get("snapshots")),
        first_step=_whole(run.get("first_step")),
        last_step=_whole(run.get("last_step")),
        parameters=_whole(run.get("parameters")),
        statuses={str(f.get("id")): str(f.get("status")) for f in findings},
        state=_text(evidence.get("state")),
        stop_step=_whole(evidence.get("stop_step")),
        metric=metric,
        value=value,
        do=_text(step.get("line")) or "",
    )


def sorted_rows(rows: Iterable[Row], key: str, *, reverse: bool = False) -> list[Row]:
    """Return rows in the order of one of ``KEYS``; what is unknown comes last."""

    def known(row: Row) -> tuple[bool, Any]:
        value: Any = {
            "date": row.date,
            "path": row.path,
            "steps": row.last_step,
            "worst": -STATUSES.index(row.worst),
            "state": row.state,
            "metric": row.value,
        }[key]
        return value is None, value

    unknown = [row for row in rows if known(row)[0]]
    others = sorted((r for r in rows if not known(r)[0]), key=lambda r: known(r)[1])
    return [*(reversed(others) if reverse else others), *unknown]


def _metric(metrics: Mapping[str, Any]) -> tuple[str | None, Any]:
    for name in METRICS:
        if name in metrics and np.isfinite(metrics[name]).any():
            return name, metrics[name]
    return None, np.zeros(0)


def _thinned(values: Any) -> Any:
    every = max(1, math.ceil(len(values) / POINTS))
    return values[::every]


def _date(file: Path | None) -> str:
    if file is None or not file.exists():
        return ""
    changed = datetime.fromtimestamp(int(file.stat().st_mtime), timezone.utc)
    return changed.strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def is_report(path: Path) -> bool:
    """Whether a path is one that a report may have."""
    return path.suffix.lower() == ".json"


def files_in(folder: Path, suffixes: Sequence[str] = (".h5", ".hdf5", ".json")) -> list[Path]:
    """Return the runs and reports below a folder, in order; links are not followed."""
    found: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file() and not path.is_symlink():
            found.append(path)
    return found
