"""Hold one run's findings and metrics against a policy. Reads no file and prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding, limit_words
from koopscope.gate.baseline import Change, changes
from koopscope.gate.metrics import of_metrics
from koopscope.gate.outcome import VERDICTS as VERDICTS
from koopscope.gate.outcome import Outcome as Outcome
from koopscope.gate.outcome import Verdict as Verdict
from koopscope.gate.outcome import violation
from koopscope.gate.policy import Policy, RuleSetting
from koopscope.gate.rules import ASKED_BY_CALL, BASELINE, METRICS, RULES, Level, Rule
from koopscope.gate.rules import rule as rule_named


@dataclass(frozen=True)
class Judgement:
    """All outcomes of one run, worst first; rules that are off are not among them."""

    diagnosis: Diagnosis
    outcomes: tuple[Outcome, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the outcomes; ``inconclusive`` where nothing was judged."""
        return self.outcomes[0].verdict if self.outcomes else "inconclusive"

    @property
    def is_decided(self) -> bool:
        """Whether something was judged, and everything that was demanded by name."""
        undecided = [outcome for outcome in self.outcomes if outcome.verdict == "inconclusive"]
        return len(undecided) < len(self.outcomes) and not any(o.demanded for o in undecided)

    def count(self, verdict: Verdict) -> int:
        """Return how many outcomes have this verdict."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)


def judge(
    diagnosis: Diagnosis,
    policy: Policy,
    baseline: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> Judgement:
    """Hold a run against a policy, and against earlier reports where they are given.

    Parameters
    ----------
    diagnosis
        The run's findings.
    policy
        What is demanded.
    baseline
        The earlier report of one run, schema 1, as parsed JSON; or several, of other seeds.
    """
    asked = {finding.id for finding in diagnosis.findings}
    outcomes = [
        _of_finding(rule, diagnosis.finding(rule.id), policy.setting(rule))
        for rule in RULES
        if rule.id in asked and policy.setting(rule).level != "off"
    ]
    outcomes.extend(_of_parts(diagnosis, policy))
    outcomes.extend(_not_asked(asked, policy))
    outcomes.extend(of_metrics(diagnosis.analysis.description.metrics, policy))
    reports = [baseline] if isinstance(baseline, Mapping) else list(baseline or ())
    level = policy.baseline_level
    if reports and level != "off":
        outcomes.extend(_of_changes(changes(diagnosis, reports, policy), level))
    outcomes.sort(key=lambda outcome: (VERDICTS.index(outcome.verdict), outcome.code))
    return Judgement(diagnosis, tuple(outcomes))


def _of_parts(diagnosis: Diagnosis, policy: Policy) -> Iterator[Outcome]:
    """Yield what came of the rules on each of several networks of a run.

    Networks that were told by their names alone are warned of at most: the names may mislead.
    """
    for part in diagnosis.parts:
        for finding in part.diagnosis.findings:
            known = rule_named(finding.id)
            setting = policy.setting(known)
            if setting.level == "off":
                continue
            outcome = _of_finding(known, finding, setting)
            mild = part.group.recognised and outcome.verdict == "error"
            yield replace(
                outcome,
                title=f"{outcome.title}: {part.group.name}",
                message=f"{part.group.name}: {outcome.message}",
                verdict="warn" if mild else outcome.verdict,
            )


def _not_asked(asked: set[str], policy: Policy) -> Iterator[Outcome]:
    """Yield the rules that the configuration turns on although this kind of run has no answer."""
    for rule in RULES:
        setting = policy.rules.get(rule.id)
        if setting is None or setting.level == "off" or rule.id in asked:
            continue
        if rule not in (METRICS, *ASKED_BY_CALL):
            yield Outcome(
                rule.id,
                rule.code,
                rule.title,
                "inconclusive",
                f"The configuration asks for {rule.id}, which is a question for another kind of "
                "run (weights, or iterates of an operator).",
                hint=f"leave rules.{rule.id} out for this run",
            )


def _of_finding(rule: Rule, finding: Finding, setting: RuleSetting) -> Outcome:
    verdict, expected, found = _verdict(rule, finding, setting)
    return Outcome(
        id=rule.id,
        code=rule.code,
        title=rule.title,
        verdict=verdict,
        message=finding.message,
        expected=expected,
        found=found,
        interval=finding.evidence.value_interval,
        hint=finding.hint,
        do=finding.action.line,
    )


def _verdict(
    rule: Rule, finding: Finding, setting: RuleSetting
) -> tuple[Verdict, str | None, str | None]:
    """Return the verdict, and what the criterion that decided it expected and found."""
    violated = violation(setting.level)
    state = finding.evidence.judged_state
    if setting.accept is not None and state is not None:
        expected = " or ".join(setting.accept)
        if state in setting.accept:
            return "pass", expected, state
        return ("inconclusive" if state == "inconclusive" else violated), expected, state
    if finding.status == "inconclusive":
        return "inconclusive", None, None
    unit = f" {finding.unit}" if finding.unit else ""
    found = f"{finding.value:.4g}{unit}" if finding.value is not None else None
    spoken = finding.criterion
    by_another = spoken is not None and not spoken.of_value and finding.status in ("warn", "fail")
    if (
        setting.threshold is not None
        and finding.value is not None
        and rule.worse is not None
        and not by_another  # what fails for another reason does not pass by a limit on its value
    ):
        beyond = (
            finding.value < setting.threshold
            if rule.worse == "lower"
            else finding.value > setting.threshold
        )
        expected = limit_words(setting.threshold, rule.worse) + unit
        return (violated if beyond else "pass"), expected, found
    if spoken is None and finding.threshold is not None and rule.worse is not None:
        expected = limit_words(finding.threshold, rule.worse) + unit
    elif spoken is not None:
        expected, found = spoken.expected, spoken.found
    else:
        return _by_status(finding, setting), None, found
    return _by_status(finding, setting), expected, found


def _by_status(finding: Finding, setting: RuleSetting) -> Verdict:
    violated = violation(setting.level)
    if finding.status == "fail":
        return violated
    if finding.status == "warn":
        return violated if setting.warnings else "warn"
    return "pass"


def _of_changes(found: Sequence[Change], level: Level) -> Iterator[Outcome]:
    for change in found:
        verdict: Verdict = violation(level) if change.exceeds else "pass"
        yield Outcome(
            BASELINE.id,
            BASELINE.code,
            f"{BASELINE.title}: {change.name}",
            "inconclusive" if change.is_undecided else verdict,
            change.message,
            change.expected,
            change.found,
            hint=change.hint,
            demanded=change.is_undecided,
        )
