"""What changed since an earlier report of the same kind of run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.gate.policy import Policy

#: Better to worse; a finding that moves to the right got worse.
_STATUSES = ("pass", "info", "inconclusive", "warn", "fail")


@dataclass(frozen=True)
class Change:
    """One thing held against the earlier report.

    Attributes
    ----------
    name
        A finding's id, or ``metrics.<name>`` for a metric's last value.
    exceeds
        Whether it got worse, or moved by more than the tolerance.
    message, expected, found
        In words.
    """

    name: str
    exceeds: bool
    message: str
    expected: str
    found: str


def stored_report(path: str | PathLike[str]) -> Mapping[str, Any]:
    """Read the one run of a report that was stored as JSON.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or is not a report of schema 1 on one run.
    """
    try:
        report = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise KoopscopeError(
            f"the baseline {path} cannot be read: {reason}",
            "store one with koopscope check RUN -f json=FILE",
        ) from error
    return _single_run(report if isinstance(report, dict) else {}, f"the baseline {path}")


def _single_run(report: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return the one run of a stored report.

    Raises
    ------
    KoopscopeError
        If it is not a report of schema 1 on one run.
    """
    version = str(report.get("schema_version", "none"))
    if version.split(".")[0] != "1":
        raise KoopscopeError(
            f"{where} has schema version {version}, and this koopscope reads version 1",
            "store a new baseline: koopscope check RUN -f json=FILE",
        )
    runs = report.get("runs", [report])
    if not isinstance(runs, list) or len(runs) != 1 or not isinstance(runs[0], Mapping):
        raise KoopscopeError(
            f"{where} does not hold exactly one run", "store the report of one run as a baseline"
        )
    run: Mapping[str, Any] = runs[0]
    if not _is_report(run):
        raise KoopscopeError(
            f"{where} is not a koopscope report", "make one with koopscope check RUN -f json=FILE"
        )
    return run


def _is_report(run: Mapping[str, Any]) -> bool:
    findings, described = run.get("findings"), run.get("run")
    if not isinstance(findings, list) or not isinstance(described, Mapping):
        return False
    metrics = described.get("metrics") or {}
    return (
        all(isinstance(finding, Mapping) for finding in findings)
        and isinstance(metrics, Mapping)
        and all(isinstance(metric, Mapping) for metric in metrics.values())
    )


def changes(diagnosis: Diagnosis, baseline: Mapping[str, Any], policy: Policy) -> list[Change]:
    """Return every change against the earlier report, in its order."""
    return [*_of_findings(diagnosis, baseline, policy), *_of_metrics(diagnosis, baseline, policy)]


def _of_findings(
    diagnosis: Diagnosis, baseline: Mapping[str, Any], policy: Policy
) -> Iterator[Change]:
    now = {finding.id: finding for finding in diagnosis.findings}
    for old in baseline["findings"]:
        finding = now.get(str(old.get("id")))
        if finding is None or old.get("status") not in _STATUSES:
            continue
        worse = _STATUSES.index(finding.status) > _STATUSES.index(old["status"])
        if worse:
            yield Change(
                finding.id,
                True,
                f"{finding.id} was {old['status']} and is {finding.status}: {finding.message}",
                str(old["status"]),
                finding.status,
            )
        elif isinstance(old.get("value"), (int, float)) and finding.value is not None:
            yield _moved(finding.id, float(old["value"]), finding.value, policy)


def _of_metrics(
    diagnosis: Diagnosis, baseline: Mapping[str, Any], policy: Policy
) -> Iterator[Change]:
    stored = baseline["run"].get("metrics") or {}
    for name, values in diagnosis.analysis.description.metrics.items():
        old = stored.get(name, {}).get("last")
        finite = values[np.isfinite(values)]
        if isinstance(old, (int, float)) and len(finite):
            yield _moved(f"metrics.{name}", float(old), float(finite[-1]), policy)


def _moved(name: str, old: float, new: float, policy: Policy) -> Change:
    tolerance = policy.tolerance_of(name)
    allowed = tolerance.absolute + tolerance.relative * abs(old)
    exceeds = abs(new - old) > allowed
    return Change(
        name,
        exceeds,
        f"{name} was {old:.6g} and is {new:.6g}, a change of {new - old:+.3g} "
        f"({'more than' if exceeds else 'within'} the tolerance of {allowed:.3g}).",
        f"{old:.6g} ± {allowed:.3g}",
        f"{new:.6g}",
    )
