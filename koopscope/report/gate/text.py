"""The gate in a terminal: what failed first, each with what was expected and what was found."""

from __future__ import annotations

from koopscope.gate.judgement import VERDICTS, Judgement, Outcome
from koopscope.report.gate.gate import Gate, interval_text
from koopscope.report.text.terminal_style import Page, wrapped

#: Mark and style of a verdict, by the finding's status that looks like it.
_LOOKS = {"error": "fail", "warn": "warn", "inconclusive": "inconclusive", "pass": "pass"}


def render(gate: Gate, page: Page) -> str:
    """Return the outcomes of every run, worst first; what passed takes a line per run."""
    lines = []
    for judgement in gate.judgements:
        lines += [*_run(judgement, page), ""]
    for failure in gate.failures:
        mark = page.style(page.glyphs.marks["fail"], "fail")
        lines += [
            f"{mark} {page.style(failure.path, 'title')}: not judged, {failure.error.message}"
        ]
    return "\n".join(lines).rstrip("\n")


def _run(judgement: Judgement, page: Page) -> list[str]:
    lines = [page.style(judgement.diagnosis.analysis.description.path, "title")]
    if judgement.diagnosis.next.line:
        first, *more = wrapped(f"do: {judgement.diagnosis.next.line}", page, 4)
        lines += [f"  {page.style(first, 'strong')}", *(f"      {line}" for line in more)]
    for verdict in VERDICTS[:-1]:
        for outcome in judgement.outcomes:
            if outcome.verdict == verdict:
                lines += _outcome(outcome, page)
    passed = [outcome.code for outcome in judgement.outcomes if outcome.verdict == "pass"]
    if passed:
        mark = page.style(page.glyphs.marks["pass"], "pass")
        codes = ", ".join(dict.fromkeys(passed))
        text = wrapped(f"{len(passed)} passed: {codes}", page, 4)
        lines += [f"  {mark} {text[0]}", *(f"    {line}" for line in text[1:])]
    if not judgement.outcomes:
        lines.append("  no rule that is on applies: nothing was judged")
    return lines


def _outcome(outcome: Outcome, page: Page) -> list[str]:
    look = _LOOKS[outcome.verdict]
    mark = page.style(page.glyphs.marks[look], look)
    verdict = page.style(outcome.verdict, look)
    lines = [f"  {mark} {outcome.code} {page.style(outcome.title, 'strong')}: {verdict}"]
    body = [outcome.message]
    if outcome.expected is not None and outcome.found is not None:
        body.append(f"expected {outcome.expected}, found {outcome.found}")
    if outcome.interval is not None:
        body.append(f"interval {interval_text(outcome)}")
    if outcome.do:
        body.append(f"{page.glyphs.hint} do: {outcome.do}")
    if outcome.hint:
        body.append(f"{page.glyphs.hint} {outcome.hint}")
    for text in body:
        lines += [f"      {line}" for line in wrapped(text, page, 6)]
    return lines
