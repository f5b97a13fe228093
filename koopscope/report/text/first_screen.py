"""The first screen of a run: state, why, what to do, what is not known, and the recorded loss.

Lays out a ``FirstLook``; decides nothing.
"""

from __future__ import annotations

import math
from itertools import accumulate

from koopscope.analysis.metric_choice import training_choice
from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.report.text.terminal_style import Page, columns_of, curve, shortened, wrapped

#: Characters of a curve.
CURVE_COLUMNS = 40

#: Names of metrics are shortened to so many columns.
_NAME = 12


def first_screen(diagnosis: Diagnosis, page: Page) -> list[str]:
    """Return the first lines of a report on a run; none where nothing was asked of it."""
    if not diagnosis.findings:
        return []
    look = diagnosis.first_look
    said = [("state", look.state), ("why", look.why), ("do", look.do), ("unsure", look.unsure)]
    said[3:3] = [("note", note) for note in look.notes]
    curves = _curves(diagnosis)
    shown = {name: shortened(name, _NAME, page) for name in curves}
    columns = max(map(columns_of, ["unsure", *shown.values()])) + 2
    lines = []
    for label, text in said:
        if text:
            role = "strong" if label == "do" else "plain"
            lines += _labelled(label, text, columns, page, role)
    drawn = 0
    for name, values in curves.items():
        line = curve(values, CURVE_COLUMNS, page)
        drawn = max(drawn, len(line))
        ends = [value for value in values if not math.isnan(value)]
        told = f"{line:<{drawn}}  {ends[0]:.3g} to {ends[-1]:.3g}"
        label = shown[name] + " " * (columns - columns_of(shown[name]))
        lines.append(f"{page.style(label, 'faint')}{told}".rstrip())
    return [*lines, *(_marked(diagnosis, drawn, columns, page) if drawn else [])]


def _labelled(label: str, text: str, columns: int, page: Page, role: str) -> list[str]:
    parts = wrapped(text, page, columns)
    first = page.style(f"{label:<{columns}}", "faint") + page.style(parts[0], role)
    return [first, *(" " * columns + page.style(part, role) for part in parts[1:])]


def _curves(diagnosis: Diagnosis) -> dict[str, list[float]]:
    """Return the recorded training loss and validation metric by name, as far as there are any.

    Between two values that are given, the earlier one is drawn on.
    """
    metrics = diagnosis.analysis.description.metrics
    training, best = training_choice(metrics), diagnosis.keep
    names = [training.name] if training is not None else []
    names += [best.choice.name] if best is not None else []
    return {name: _drawn_on(metrics[name].tolist()) for name in names}


def _drawn_on(values: list[float]) -> list[float]:
    last = max((k for k, value in enumerate(values) if not math.isnan(value)), default=-1)
    filled = list(accumulate(values, _later))
    return filled[: last + 1] + values[last + 1 :]


def _later(before: float, now: float) -> float:
    return before if math.isnan(now) else now


def _marked(diagnosis: Diagnosis, drawn: int, columns: int, page: Page) -> list[str]:
    """Return the line of marks under the curves, and what they stand for."""
    steps = diagnosis.analysis.description.steps.tolist()
    marks: dict[int, str] = {}
    told = []
    best, stop = diagnosis.keep, _stop(diagnosis)
    if best is not None:
        told.append(f"b best: step {best.step:,}, {best.words}")
        marks[best.index * drawn // len(steps)] = "b"
    if stop is not None and stop in steps:
        told.append(f"s stop: step {stop:,}, enough by then")
        place = steps.index(stop) * drawn // len(steps)
        marks[place] = "*" if place in marks else "s"
    spikes = [step for step in _spikes(diagnosis.findings) if step in steps]
    for step in spikes:
        marks.setdefault(steps.index(step) * drawn // len(steps), "^")
    if spikes:
        told.append(f"^ spike: step {spikes[0]:,}" + (", ..." if len(spikes) > 1 else ""))
    if "*" in marks.values():
        told.append("* both")
    if not marks:
        return []
    line = "".join(marks.get(column, " ") for column in range(drawn)).rstrip()
    legend = wrapped("; ".join(told), page, columns)
    return [" " * columns + line, *(" " * columns + page.style(part, "faint") for part in legend)]


def _stop(diagnosis: Diagnosis) -> int | None:
    """Return the step at which training could have stopped, as far as the finding says so."""
    for finding in diagnosis.findings:
        evidence = finding.evidence
        if isinstance(evidence, ConvergenceEvidence):
            unsaid = evidence.state in ("diverging", "inconclusive")
            return None if unsaid else evidence.stop_step
    return None


def _spikes(findings: tuple[Finding, ...]) -> list[int]:
    """Return the steps of the spikes that the finding of that name lists."""
    for finding in findings:
        if finding.id == "spikes":
            return [int(spike["step"]) for spike in finding.evidence.get("spikes", ())]
    return []
