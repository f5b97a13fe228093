"""Writes a diagnosis as text: the first screen, the findings, the layers, the spectrum if asked.

Lays out what the analysis and the diagnostics say; computes and decides nothing of its own.
"""

from __future__ import annotations

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.analysis_report import Report
from koopscope.report.text.findings import findings_lines, parts_lines
from koopscope.report.text.first_screen import first_screen
from koopscope.report.text.layers import layer_lines
from koopscope.report.text.numbers import count, step_range
from koopscope.report.text.spectrum import spectrum_lines
from koopscope.report.text.sweep import sweep_lines
from koopscope.report.text.terminal_style import Page, wrapped


def render(report: Report, page: Page) -> str:
    """Return the report as text for a page."""
    parts = [_run(diagnosis, page, report.with_spectrum) for diagnosis in report.diagnoses]
    if report.sweep is not None:
        parts.append("\n".join(sweep_lines(report.sweep, page)))
    return "\n\n\n".join(parts)


def _run(diagnosis: Diagnosis, page: Page, with_spectrum: bool) -> str:
    analysis = diagnosis.analysis
    summary = diagnosis.summary if with_spectrum else diagnosis.summary_of_parts
    sections = [
        _header(analysis, page),
        first_screen(diagnosis, page),
        findings_lines(diagnosis.findings, page),
        parts_lines(diagnosis.parts, page),
    ]
    if summary.layers:
        sections.append(layer_lines(diagnosis, summary, page))
    if with_spectrum:
        sections.append(spectrum_lines(analysis, summary, page))
    return "\n\n".join("\n".join(section) for section in sections if section)


def _header(analysis: Analysis, page: Page) -> list[str]:
    run, window = analysis.description, analysis.window
    steps = run.steps
    recorded = f"{count(run.snapshots, 'snapshot')}, {step_range(int(steps[0]), int(steps[-1]))}"
    weights = f"{run.parameters:,} weights in {count(len(run.tensors), 'tensor')}, {run.dtype}"
    lines = [page.style(run.path, "title"), *wrapped(f"{recorded}; {weights}", page)]
    if window.snapshots < run.snapshots or len(analysis.tensors) < len(run.tensors):
        used = (
            f"analysed: {count(window.snapshots, 'snapshot')}, "
            f"{step_range(int(steps[window.first]), int(steps[window.stop - 1]))}"
        )
        if len(analysis.tensors) < len(run.tensors):
            used += f"; {count(len(analysis.tensors), 'tensor')}"
        lines += wrapped(used, page)
    missed = [skipped for skipped in run.skipped if not skipped.counts]
    if missed:
        names = ", ".join(skipped.name for skipped in missed[:2])
        more = f" and {len(missed) - 2} more" if len(missed) > 2 else ""
        lines += wrapped(f"not read: {names}{more} (`koopscope inspect` says why)", page)
    for note in run.notes:
        lines += wrapped(f"note: {note}", page)
    return lines
