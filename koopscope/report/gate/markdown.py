"""The gate as Markdown, short enough to be a comment on a pull request."""

from __future__ import annotations

import re

from koopscope.gate.judgement import Judgement, Outcome
from koopscope.inert import inert
from koopscope.report.gate.gate import Gate, interval_text
from koopscope.report.text.terminal_style import Page

_SIGNS = {"error": "❌", "warn": "⚠️", "inconclusive": "❔", "pass": "✅"}


def render(gate: Gate, page: Page) -> str:
    """Return a section per run, with a table of what did not pass."""
    lines = ["## koopscope", ""]
    for judgement in gate.judgements:
        lines += _run(judgement)
    for failure in gate.failures:
        lines += [
            f"### ❌ {cell(failure.path)}",
            "",
            f"Not judged: {cell(failure.error.message)}",
            "",
        ]
    return "\n".join(lines).rstrip("\n")


def _run(judgement: Judgement) -> list[str]:
    path = judgement.diagnosis.analysis.description.path
    lines = [f"### {_SIGNS[judgement.verdict]} {cell(path)}", ""]
    if judgement.diagnosis.next.line:
        lines += [f"Do: {cell(judgement.diagnosis.next.line)}", ""]
    shown = [outcome for outcome in judgement.outcomes if outcome.verdict != "pass"]
    if shown:
        lines += ["| | rule | finding | expected | found |", "|---|---|---|---|---|"]
        lines += [_row(outcome) for outcome in shown]
        lines.append("")
    passed = [outcome.code for outcome in judgement.outcomes if outcome.verdict == "pass"]
    if passed:
        lines += [f"{len(passed)} passed: {', '.join(dict.fromkeys(passed))}", ""]
    return lines


def _row(outcome: Outcome) -> str:
    found = outcome.found or ""
    if outcome.interval is not None:
        found += f" ({interval_text(outcome)})"
    cells = (
        _SIGNS[outcome.verdict],
        f"{outcome.code} {outcome.title}",
        " ".join([outcome.message, *_to_do(outcome)]),
        outcome.expected or "",
        found,
    )
    return "| " + " | ".join(cell(text) for text in cells) + " |"


def _to_do(outcome: Outcome) -> list[str]:
    """Return the action and the hint, each if there is one."""
    return [
        *([f"Do: {outcome.do}."] if outcome.do else []),
        *([outcome.hint] if outcome.hint else []),
    ]


def cell(text: str) -> str:
    """Escape what would leave the cell, start markup or notify somebody."""
    text = inert(re.sub(r"[\r\n]+", " ", text))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#@])", r"\\\1", text)
