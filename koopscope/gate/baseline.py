"""What changed since earlier reports of the same kind of run, against what another seed changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding, Side
from koopscope.errors import KoopscopeError
from koopscope.gate.policy import Policy
from koopscope.gate.rules import did_you_mean, rule
from koopscope.gate.spread import allowed_change, direction_of
from koopscope.runs.bounded_json import loaded

#: Better to worse; a finding that moves to the right got worse.
_STATUSES = ("pass", "info", "inconclusive", "warn", "fail")

_STORE = "store one with koopscope analyze RUN -f json=FILE"

#: Bytes of a report that is read; a report has some 20 kB and 1 kB for each tensor it names.
_LARGEST_REPORT = 64 * 2**20


@dataclass(frozen=True)
class Change:
    """One thing held against the earlier report.

    Attributes
    ----------
    name
        A finding's id, or ``metrics.<name>`` for a metric's last value.
    exceeds
        Whether it got worse by more than the tolerance.
    message, expected, found
        In words.
    hint
        What to do, or ``None``.
    is_undecided
        Whether it could not be compared, because the run lacks what the report has.
    """

    name: str
    exceeds: bool
    message: str
    expected: str | None = None
    found: str | None = None
    hint: str | None = None
    is_undecided: bool = False


def stored_report(path: str | PathLike[str]) -> Mapping[str, Any]:
    """Read the one run of a report that was stored as JSON.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or is not a report of schema 1 on one run.
    """
    try:
        report = loaded(_text_of(Path(path)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it is not JSON that can be read ({error})"
        raise KoopscopeError(
            f"the baseline {path} cannot be read: {reason}",
            "store one with koopscope check RUN -f json=FILE",
        ) from error
    return _single_run(report if isinstance(report, dict) else {}, f"the baseline {path}")


def stored_runs(path: str | PathLike[str]) -> list[Mapping[str, Any]]:
    """Read every run of a report that was stored as JSON.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or is not a report of schema 1.
    """
    try:
        report = loaded(_text_of(Path(path)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it is not JSON that can be read ({error})"
        raise KoopscopeError(f"the report {path} cannot be read: {reason}") from error
    runs = report.get("runs", [report]) if isinstance(report, dict) else []
    if not isinstance(runs, list) or not runs:
        raise KoopscopeError(f"{path} is not a koopscope report", _STORE)
    return [_single_run(run if isinstance(run, dict) else {}, str(path)) for run in runs]


def _text_of(path: Path) -> bytes:
    """Return what a file holds, which may be a pipe."""
    with path.open("rb") as file:
        text = file.read(_LARGEST_REPORT + 1)
    if len(text) > _LARGEST_REPORT:
        raise ValueError(f"it holds more than {_LARGEST_REPORT // 2**20} MiB")
    return text


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


def changes(
    diagnosis: Diagnosis, reports: Sequence[Mapping[str, Any]], policy: Policy
) -> list[Change]:
    """Return every change against earlier reports of one kind of run, in their order."""
    return [*_of_findings(diagnosis, reports, policy), *_of_metrics(diagnosis, reports, policy)]


def _of_findings(
    diagnosis: Diagnosis, reports: Sequence[Mapping[str, Any]], policy: Policy
) -> Iterator[Change]:
    now = {finding.id: finding for finding in diagnosis.findings}
    old: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports:
        for each in report["findings"]:
            if each.get("status") in _STATUSES:
                old.setdefault(str(each.get("id")), []).append(each)
    compared = [name for name in old if name in now]
    if not compared:
        yield Change(
            "findings",
            False,
            "The baseline is of another kind of run: they have no finding in common.",
            hint="store a baseline of this kind of run: koopscope check RUN -f json=FILE",
            is_undecided=True,
        )
    for name in compared:
        yield from _of_finding(now[name], old[name], policy)


def _of_finding(
    finding: Finding, old: Sequence[Mapping[str, Any]], policy: Policy
) -> Iterator[Change]:
    """Hold a finding against the worst of the earlier ones, and its value against all of them."""
    values = [float(each["value"]) for each in old if _is_number(each.get("value"))]
    moved = None
    if values and finding.value is not None:
        side: Side = rule(finding.id).worse or "higher"
        moved = _moved(finding.id, values, finding.value, policy, side)
    status = max((str(each["status"]) for each in old), key=_STATUSES.index)
    if _STATUSES.index(finding.status) <= _STATUSES.index(status):
        if moved is not None:
            # Where the rule itself sees nothing wrong, only a tolerance that is set counts.
            judged = finding.status in ("warn", "fail") or policy.tolerance_of(finding.id)
            yield moved if judged else replace(moved, exceeds=False)
        return
    said = f"{finding.id} was {status} and is {finding.status}: {finding.message}"
    by_value = finding.criterion is None or finding.criterion.of_value
    within = moved is not None and not moved.exceeds and by_value and values
    if finding.status == "inconclusive":
        yield Change(finding.id, False, said, status, finding.status, is_undecided=True)
    elif finding.status == "info" or within:
        # Told, not judged: the next seed may be on the other side of the threshold again.
        yield Change(finding.id, False, said, status, finding.status)
    else:
        yield Change(finding.id, True, said, status, finding.status, hint=finding.hint)


def _of_metrics(
    diagnosis: Diagnosis, reports: Sequence[Mapping[str, Any]], policy: Policy
) -> Iterator[Change]:
    recorded = diagnosis.analysis.description.metrics
    old: dict[str, list[float]] = {}
    for report in reports:
        for name, metric in (report["run"].get("metrics") or {}).items():
            if _is_number(metric.get("last")):
                old.setdefault(name, []).append(float(metric["last"]))
    for name, values in old.items():
        new = recorded.get(name)
        if new is None or np.isnan(new).all():
            yield Change(
                f"metrics.{name}",
                False,
                f"The baseline has a last {name}, and the run holds none to compare.",
                hint=did_you_mean(name, recorded) if recorded else "record it with the run",
                is_undecided=True,
            )
        elif not math.isfinite(new[-1]):
            yield Change(
                f"metrics.{name}",
                True,
                f"The last {name} was {_center(values):.6g} and is not a finite number.",
                "a finite number",
                f"{new[-1]:g}",
            )
        else:
            side = direction_of(name)
            yield _moved(f"metrics.{name}", values, float(new[-1]), policy, side)


def _moved(
    name: str, old: Sequence[float], new: float, policy: Policy, worse: Side | None
) -> Change:
    """Compare a value with earlier ones; ``worse`` is ``None`` where every change counts."""
    center = _center(old)
    tolerance = policy.tolerance_of(name)
    if tolerance is not None:
        allowed = tolerance.absolute + tolerance.relative * abs(center)
        low, high, why = center - allowed, center + allowed, "the tolerance that is set"
    else:
        low, high = allowed_change(name, old)
        seeds = f"{len(old)} reports" if len(old) > 1 else "the usual spread"
        why = f"what another seed makes, by {seeds}"
    too_high, too_low = new > high and worse != "lower", new < low and worse != "higher"
    exceeds = too_high or too_low
    better = (new > high and worse == "lower") or (new < low and worse == "higher")
    how = "worse than" if exceeds and worse else "beyond" if exceeds else "within"
    if better:
        how = "better than"
    limits = {
        "higher": f"at most {high:.6g}",
        "lower": f"at least {low:.6g}",
        None: f"{low:.6g} to {high:.6g}",
    }
    was = f"{center:.6g}" + (" (the median)" if len(old) > 1 else "")
    return Change(
        name,
        exceeds,
        f"{name} was {was} and is {new:.6g}, {how} {why} ({low:.6g} to {high:.6g}).",
        limits[worse],
        f"{new:.6g}",
    )


def _center(values: Sequence[float]) -> float:
    return float(np.median(values))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
