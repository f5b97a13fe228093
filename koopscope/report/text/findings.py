"""Findings as text: what each says, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable

from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.diagnosis import Part
from koopscope.diagnostics.finding import Finding
from koopscope.report.text.terminal_style import Page, sparkline, wrapped

#: Columns of a label.
_LABEL = 7

#: Characters of the history under the convergence finding.
HISTORY_COLUMNS = 24


def findings_lines(findings: tuple[Finding, ...], page: Page) -> list[str]:
    """Return findings with their hints as lines for the page."""
    name_columns = max((len(finding.id) for finding in findings), default=0)
    lines = [page.style("Findings", "title")]
    indent = 4 + name_columns + 2
    told = False
    for finding in findings:
        mark = page.style(page.glyphs.marks[finding.status], finding.status)
        message = wrapped(finding.message, page, indent)
        lines.append(f"  {mark} {finding.id:<{name_columns}}  {message[0]}")
        lines += [" " * indent + line for line in message[1:]]
        history = improvement_ahead(finding)
        if history:
            spark = (
                f"improvement still to come, over time: {sparkline(history, HISTORY_COLUMNS, page)}"
            )
            lines += [
                " " * indent + page.style(line, "faint") for line in wrapped(spark, page, indent)
            ]
        said = [f"do: {finding.action.line}"] if finding.action.line else []
        if finding.action.do == "record_more":  # the same of many questions: once is enough
            said, told = [] if told else said, True
        said += [finding.hint] if finding.hint else []
        arrow = page.glyphs.hint + " "
        for sentence in said:
            hint = wrapped(sentence, page, indent + len(arrow))
            hint = [arrow + hint[0], *(" " * len(arrow) + line for line in hint[1:])]
            lines += [" " * indent + page.style(line, "faint") for line in hint]
    return lines


def parts_lines(parts: Iterable[Part], page: Page) -> list[str]:
    """Return each of several networks with its state, what is wrong with it and what to do."""
    lines = []
    for part in parts:
        look, weights = part.diagnosis.first_look, part.diagnosis.analysis.gram().size
        title = page.style(part.group.name, "title")
        lines.append(f"{title}, judged by itself ({weights:,} weights)")
        for label, text in (("state", look.state), ("why", look.why), ("do", look.do)):
            if text:
                first, *more = wrapped(text, page, _LABEL + 2)
                lines.append(f"  {page.style(f'{label:<{_LABEL}}', 'faint')}{first}")
                lines += [" " * (_LABEL + 2) + line for line in more]
    return lines


def improvement_ahead(finding: Finding) -> list[float]:
    """Return the improvement predicted ahead at each snapshot; of convergence alone, else empty."""
    if not isinstance(finding.evidence, ConvergenceEvidence):
        return []
    return [point.statistic for point in finding.evidence.stop_history]
