"""The gate as GitHub annotations: one workflow command for each rule that did not pass."""

from __future__ import annotations

from koopscope.gate.judgement import Verdict
from koopscope.report.gate.gate import Gate
from koopscope.report.page import Page

_COMMANDS: dict[Verdict, str] = {"error": "error", "warn": "warning", "inconclusive": "notice"}


def render(gate: Gate, page: Page) -> str:
    """Return ``::error file=...,title=...::message`` lines, worst first."""
    lines = [
        f"::error file={_property(failure.path)},title=koopscope::{_data(failure.error.message)}"
        for failure in gate.failures
    ]
    for verdict, command in _COMMANDS.items():
        for path, outcome in gate.outcomes(verdict):
            title = _property(f"{outcome.code} {outcome.title}")
            hint = f"\n{outcome.hint}" if outcome.hint else ""
            message = _data(f"{outcome.message}{hint}")
            lines.append(f"::{command} file={_property(path)},title={title}::{message}")
    return "\n".join(lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
