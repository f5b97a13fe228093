"""The gate as GitHub annotations: one workflow command for each rule that did not pass."""

from __future__ import annotations

from collections.abc import Sequence

from koopscope.gate.judgement import Outcome, Verdict
from koopscope.inert import inert
from koopscope.report.gate.gate import Gate
from koopscope.report.text.terminal_style import Page

_COMMANDS: dict[Verdict, str] = {"error": "error", "warn": "warning", "inconclusive": "notice"}


def render(gate: Gate, page: Page) -> str:
    """Return ``::error file=...,title=...::message`` lines, worst first, and what to do last."""
    lines = [
        f"::error file={_property(failure.path)},title=koopscope::{_data(failure.error.message)}"
        for failure in gate.failures
    ]
    for verdict, command in _COMMANDS.items():
        by_rule: dict[tuple[str, str], list[Outcome]] = {}
        for path, outcome in gate.outcomes(verdict):
            by_rule.setdefault((path, outcome.code), []).append(outcome)
        for (path, code), outcomes in by_rule.items():
            title = _property(f"{code} {outcomes[0].title.partition(':')[0]}")
            message = _data("\n".join(_lines(outcomes)))
            lines.append(f"::{command} file={_property(path)},title={title}::{message}")
    for judgement in gate.judgements:
        path = _property(judgement.diagnosis.analysis.description.path)
        line = _data(inert(judgement.diagnosis.next.line))
        if not line or judgement.verdict == "pass":
            continue
        lines.append(f"::notice file={path},title=koopscope%3A what to do::{line}")
    return "\n".join(lines)


def _lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Every message, and each thing to do and each hint once."""
    to_do = dict.fromkeys(f"do: {outcome.do}" for outcome in outcomes if outcome.do)
    hints = dict.fromkeys(outcome.hint for outcome in outcomes if outcome.hint)
    return [inert(line) for line in (*(outcome.message for outcome in outcomes), *to_do, *hints)]


def _data(text: str) -> str:
    """Return the text of a command, inert in each line, with what ends one encoded."""
    text = "\n".join(inert(line) for line in text.split("\n"))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(inert(text)).replace(":", "%3A").replace(",", "%2C")
