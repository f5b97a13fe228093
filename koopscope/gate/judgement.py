"""Hold one run's findings and metrics against a policy. Reads no file and prints nothing."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.gate.baseline import Change, changes
from koopscope.gate.policy import MetricBound, Policy, RuleSetting
from koopscope.gate.rules import BASELINE, METRICS, RULES, Level, Rule

Verdict = Literal["error", "warn", "inconclusive", "pass"]

#: Worst first: the order in which outcomes are reported.
VERDICTS: tuple[Verdict, ...] = ("error", "warn", "inconclusive", "pass")


@dataclass(frozen=True)
class Outcome:
    """What came of one rule on one run.

    Attributes
    ----------
    id, code, title
        The rule.
    verdict
        ``error``, ``warn``, ``inconclusive`` or ``pass``.
    message
        One sentence with its number.
    expected, found
        What was demanded and what is there, in words with units; ``None`` where there is no number.
    interval
        Of the number found, where the finding has one.
    hint
        What to do, or ``None``.
    """

    id: str
    code: str
    title: str
    verdict: Verdict
    message: str
    expected: str | None = None
    found: str | None = None
    interval: tuple[float, float] | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Judgement:
    """All outcomes of one run, worst first; rules that are off are not among them."""

    diagnosis: Diagnosis
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the outcomes."""
        return self.outcomes[0].verdict if self.outcomes else "pass"

    def count(self, verdict: Verdict) -> int:
        """Return how many outcomes have this verdict."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)


def judge(
    diagnosis: Diagnosis, policy: Policy, baseline: Mapping[str, Any] | None = None
) -> Judgement:
    """Hold a run against a policy, and against an earlier report where one is given.

    Parameters
    ----------
    diagnosis
        The run's findings.
    policy
        What is demanded.
    baseline
        The earlier report of one run, schema 1, as parsed JSON.
    """
    outcomes = [
        _of_finding(rule, diagnosis.finding(rule.id), policy.setting(rule))
        for rule in RULES
        if any(finding.id == rule.id for finding in diagnosis.findings)
        and policy.setting(rule).level != "off"
    ]
    if policy.setting(METRICS).level != "off" or policy.metrics:
        outcomes.extend(_of_metrics(diagnosis, policy))
    level = policy.setting(BASELINE).level
    if baseline is not None and level != "off":
        outcomes.extend(_of_changes(changes(diagnosis, baseline, policy), level))
    outcomes.sort(key=lambda outcome: (VERDICTS.index(outcome.verdict), outcome.code))
    return Judgement(diagnosis, tuple(outcomes))


def _of_finding(rule: Rule, finding: Finding, setting: RuleSetting) -> Outcome:
    verdict, expected = _verdict(rule, finding, setting)
    unit = f" {finding.unit}" if finding.unit else ""
    state = finding.evidence.get("state")
    found = f"{finding.value:.4g}{unit}" if finding.value is not None else None
    if setting.accept is not None and state is not None:
        found = str(state)
    interval = finding.evidence.get("interval")
    ends = tuple(interval) if isinstance(interval, (list, tuple)) and len(interval) == 2 else None
    return Outcome(
        rule.id,
        rule.code,
        rule.title,
        verdict,
        finding.message,
        expected,
        found,
        (float(ends[0]), float(ends[1])) if ends and None not in ends else None,
        finding.hint,
    )


def _verdict(rule: Rule, finding: Finding, setting: RuleSetting) -> tuple[Verdict, str | None]:
    unit = f" {finding.unit}" if finding.unit else ""
    violated: Verdict = "warn" if setting.level == "warn" else "error"
    state = finding.evidence.get("state")
    if setting.accept is not None and state is not None:
        expected = " or ".join(setting.accept)
        if state in setting.accept:
            return "pass", expected
        return ("inconclusive" if state == "inconclusive" else violated), expected
    if finding.status == "inconclusive":
        return "inconclusive", None
    if setting.threshold is not None and finding.value is not None:
        beyond = (
            finding.value < setting.threshold
            if rule.worse == "lower"
            else finding.value > setting.threshold
        )
        sign = ">=" if rule.worse == "lower" else "<="
        return (violated if beyond else "pass"), f"{sign} {setting.threshold:.4g}{unit}"
    if finding.status == "fail":
        return violated, _own_limit(finding, violates=True)
    if finding.status == "warn":
        return (violated if setting.warnings else "warn"), _own_limit(finding, violates=True)
    return "pass", _own_limit(finding, violates=False)


def _own_limit(finding: Finding, violates: bool) -> str | None:
    """Return the finding's own threshold in words.

    A finding may rest on one of several numbers, each with its good side; its status says on which
    side this one fell.
    """
    if finding.threshold is None or finding.value is None:
        return None
    sign = ">=" if (finding.value < finding.threshold) == violates else "<="
    return f"{sign} {finding.threshold:.4g}" + (f" {finding.unit}" if finding.unit else "")


def _of_metrics(diagnosis: Diagnosis, policy: Policy) -> Iterator[Outcome]:
    recorded = diagnosis.analysis.description.metrics
    level = policy.setting(METRICS).level
    if level != "off":
        yield from (_ended_badly(name, level) for name in recorded if _ends_in_nan(recorded[name]))
    for bound in policy.metrics:
        if bound.level == "off":
            continue
        given = recorded.get(bound.metric, np.empty(0))
        finite = given[np.isfinite(given)]
        if not len(finite):
            yield _metric_outcome(
                bound.metric,
                "inconclusive",
                f"The run holds no value of {bound.metric} to judge.",
                hint=f"record it: snapshot(..., {bound.metric}=value)",
            )
        else:
            yield from _of_bound(bound, finite)


def _of_bound(bound: MetricBound, values: npt.NDArray[np.float64]) -> Iterator[Outcome]:
    final, lowest, highest = float(values[-1]), float(values.min()), float(values.max())
    cases = (
        ("final", "<", bound.final_below, final, operator.lt),
        ("final", ">", bound.final_above, final, operator.gt),
        ("best", "<", bound.best_below, lowest, operator.lt),
        ("best", ">", bound.best_above, highest, operator.gt),
    )
    for which, sign, limit, value, holds in cases:
        if limit is None:
            continue
        good = holds(value, limit)
        yield _metric_outcome(
            bound.metric,
            "pass" if good else "warn" if bound.level == "warn" else "error",
            f"The {which} {bound.metric} is {value:.6g}, {'' if good else 'not '}{sign} {limit:g}.",
            f"{which} {bound.metric} {sign} {limit:g}",
            f"{value:.6g}",
        )


def _ends_in_nan(values: Sequence[float] | npt.NDArray[np.float64]) -> bool:
    finite = np.isfinite(values)
    return bool(len(finite) and finite.any() and not finite[-1])


def _ended_badly(name: str, level: Level) -> Outcome:
    return _metric_outcome(
        name,
        "warn" if level == "warn" else "error",
        f"The last {name} is not a finite number, although earlier ones are.",
        f"a finite last {name}",
        "not finite, or not given",
        "a loss that became NaN: lower the learning rate; if it is only recorded now and then, "
        "record it with the last snapshot",
    )


def _metric_outcome(
    metric: str,
    verdict: Verdict,
    message: str,
    expected: str | None = None,
    found: str | None = None,
    hint: str | None = None,
) -> Outcome:
    title = f"{METRICS.title}: {metric}"
    return Outcome(METRICS.id, METRICS.code, title, verdict, message, expected, found, None, hint)


def _of_changes(found: Sequence[Change], level: Level) -> Iterator[Outcome]:
    violated: Verdict = "warn" if level == "warn" else "error"
    for change in found:
        yield Outcome(
            BASELINE.id,
            BASELINE.code,
            f"{BASELINE.title}: {change.name}",
            violated if change.exceeds else "pass",
            change.message,
            change.expected,
            change.found,
        )
