"""The gate as a page: what failed first, with what was expected and found, and the losses."""

from __future__ import annotations

from koopscope.gate.judgement import Judgement, Outcome
from koopscope.markup import Markup, element, joined, table
from koopscope.report.gate.gate import Gate, interval_text
from koopscope.report.gate.json import document as json_document
from koopscope.report.html.analysis import losses
from koopscope.report.html.document import document
from koopscope.report.text.terminal_style import Page

#: Verdicts in words, and the look of the finding's status that is like them.
_LOOKS = {
    "error": ("failed", "fail"),
    "warn": ("warning", "warn"),
    "inconclusive": ("cannot tell", "inconclusive"),
    "pass": ("passed", "pass"),
}


def render(gate: Gate, page: Page) -> str:
    """Return the judgements of all runs as one HTML page."""
    parts = [_run(judgement) for judgement in gate.judgements]
    for failure in gate.failures:
        parts.append(element("h2", failure.path))
        parts.append(element("p", f"Not judged: {failure.error.message}", class_="verdict fail"))
    failed = gate.count("error")
    lead = f"{failed} rule{'s' if failed != 1 else ''} failed" if failed else "No rule failed"
    title = element("h1", f"koopscope check: {lead.lower()}")
    return document(f"koopscope check: {lead.lower()}", joined([title, parts]), json_document(gate))


def _run(judgement: Judgement) -> Markup:
    analysis = judgement.diagnosis.analysis
    words, look = _LOOKS[judgement.verdict]
    line = judgement.diagnosis.next.line
    first = judgement.outcomes[0].message if judgement.outcomes else "No rule that is on applies."
    return element(
        "section",
        element("h2", analysis.description.path),
        element(
            "div",
            element("p", element("span", words, class_=f"tag {look}"), class_="state"),
            element("p", first),
            element("p", f"Do: {line}.", class_="do") if line else "",
            class_=f"verdict {look}",
        ),
        losses(judgement.diagnosis),
        table(
            "Every rule that was judged, worst first",
            ("rule", "verdict", "what was seen", "expected", "found"),
            [_row(outcome) for outcome in judgement.outcomes],
        ),
    )


def _row(outcome: Outcome) -> tuple[object, ...]:
    words, look = _LOOKS[outcome.verdict]
    found = outcome.found or ""
    if outcome.interval is not None:
        found += f" ({interval_text(outcome)})"
    return (
        f"{outcome.code} {outcome.title}",
        element("span", words, class_=f"tag {look}"),
        " ".join(
            text
            for text in (outcome.message, outcome.do and f"Do: {outcome.do}.", outcome.hint)
            if text
        ),
        outcome.expected or "",
        found,
    )
