"""One frame of ``koopscope watch``: how recording goes, and what can be said of the run so far.

Lays out text from what it is given; reads no clock, file or stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from koopscope.analysis.summary import summarized
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.report.text.eigenvalue_rows import folded, residual_level
from koopscope.report.text.findings import findings_lines, improvement_ahead
from koopscope.report.text.numbers import count
from koopscope.report.text.spectrum import ROLES, beside, eigenvalue_table
from koopscope.report.text.terminal_style import Page, sparkline, wrapped
from koopscope.report.text.unit_circle import draw

#: Rows of the circle: half of a small terminal.
CIRCLE_ROWS = 11

SPARK_COLUMNS = 40

#: Values above so many times the median are drawn as high as that.
CLIPPED_AT = 4.0

#: A writer is called silent after so many of its usual intervals, and at least so many seconds.
SILENT_INTERVALS = 5.0
SILENT_SECONDS = 5.0

_WIDTH_WITHOUT_TERMINAL = 80

_WORST_FIRST = ("fail", "warn", "inconclusive", "info", "pass")


@dataclass(frozen=True)
class Watched:
    """What a watcher knows at one moment.

    Attributes
    ----------
    path
        As the user named it.
    diagnosis
        Of the snapshots so far, ``None`` before the first.
    trouble
        Why the file cannot be read at this moment, ``None`` if it can.
    quiet_seconds
        Since the last snapshot came, ``None`` if that is not known.
    usual_seconds
        Median time between two snapshots, ``None`` before it is known.
    recorded
        Snapshots in the file; those of the diagnosis where it is 0.
    every
        Of so many of them one is judged.
    """

    path: str
    diagnosis: Diagnosis | None = None
    trouble: str | None = None
    quiet_seconds: float | None = None
    usual_seconds: float | None = None
    recorded: int = 0
    every: int = 1

    @property
    def silent(self) -> bool:
        """Whether nothing has been recorded for much longer than usual."""
        limit = max(SILENT_SECONDS, SILENT_INTERVALS * (self.usual_seconds or 0.0))
        return self.quiet_seconds is not None and self.quiet_seconds > limit


def render(watched: Watched, page: Page, height: int | None = None) -> str:
    """Return the frame as text, of at most ``height`` lines where one is given.

    What does not fit is left out from the least important on: the spectrum, what the findings say
    beyond a line, findings that pass; how many findings are missing is said.
    """
    lines = [page.style(watched.path, "title"), *wrapped(recording(watched), page)]
    if watched.diagnosis is None:
        return "\n".join(lines[:height])
    spectrum = ["", *_spectrum(watched.diagnosis, page)]
    convergence = [*_convergence(watched.diagnosis, page), *_to_do(watched.diagnosis, page)]
    findings = ["", *findings_lines(watched.diagnosis.findings, page)]
    if height is None or len(lines + spectrum + convergence + findings) <= height:
        return "\n".join([*lines, *spectrum, *convergence, *findings])
    if len(lines + convergence + findings) <= height:
        return "\n".join([*lines, *convergence, *findings])
    lines = [*lines, *convergence][: max(1, height - 2)]
    return "\n".join([*lines, *_short(watched.diagnosis.findings, page, height - len(lines))])


def _short(findings: Sequence[Finding], page: Page, room: int) -> list[str]:
    """Return a line per finding, worst first, and how many are missing."""
    ordered = sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.status))
    columns = max((len(finding.id) for finding in ordered), default=0)
    shown = ordered if len(ordered) <= room else ordered[: max(0, room - 1)]
    lines = []
    for finding in shown:
        mark = page.style(page.glyphs.marks[finding.status], finding.status)
        message = wrapped(finding.message, page, 6 + columns + 3)
        more = "..." if len(message) > 1 else ""
        lines.append(f"  {mark} {finding.id:<{columns}}  {message[0]}{more}")
    missing = len(ordered) - len(shown)
    if missing:
        lines.append(f"    {count(missing, 'finding')} more: make the window taller")
    return lines


def recording(watched: Watched) -> str:
    """Return one sentence on the state of the recording."""
    if watched.diagnosis is None:
        return f"waiting: {watched.trouble or 'no snapshot yet'}"
    run = watched.diagnosis.analysis.description
    said = count(watched.recorded or run.snapshots, "snapshot")
    if watched.every > 1:
        said += f" (one in {watched.every} judged)"
    said += f", step {run.steps[-1]:,}; {run.parameters:,} weights"
    if watched.usual_seconds is not None:
        said += f"; one every {_seconds(watched.usual_seconds)}"
    if watched.trouble is not None:
        return f"{said}; cannot be read at the moment: {watched.trouble}"
    if watched.silent and watched.quiet_seconds is not None:
        return (
            f"{said}; nothing new for {_seconds(watched.quiet_seconds)}: training is paused, has "
            "ended, or was killed"
        )
    return f"{said}; recording"


def _spectrum(diagnosis: Diagnosis, page: Page) -> list[str]:
    if not diagnosis.analysis.has_spectrum:
        return ["the spectrum needs more snapshots", ""]
    rows = folded(summarized(diagnosis.spectrum()))
    if not rows:
        return ["nothing has moved yet", ""]
    roles = [ROLES[residual_level(row.residual)] for row in rows]
    circle = draw(rows, roles, CIRCLE_ROWS, page)
    return [*beside(circle, eigenvalue_table(rows, page, CIRCLE_ROWS - 4), 2 * CIRCLE_ROWS), ""]


def _convergence(diagnosis: Diagnosis, page: Page) -> list[str]:
    finding = next((each for each in diagnosis.findings if each.id == "convergence"), None)
    values = improvement_ahead(finding) if finding is not None else []
    if not values:
        return ["convergence: no verdict before more snapshots"]
    # The first, wild values would flatten all that follows.
    clipped = [min(value, CLIPPED_AT * median(values)) for value in values]
    width = min(SPARK_COLUMNS, (page.width or _WIDTH_WITHOUT_TERMINAL) - 30)
    return [f"convergence {sparkline(clipped, max(8, width), page)} now {values[-1]:.3g}"]


def _to_do(diagnosis: Diagnosis, page: Page) -> list[str]:
    """Return what matters most; not that more snapshots are needed, since more are coming."""
    step = diagnosis.next
    if not step.line or step.action.do == "record_more":
        return []
    return [page.style(line, "strong") for line in wrapped(f"do: {step.line}", page)]


def _seconds(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.2g} s" if seconds < 10.0 else f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7200.0 else f"{seconds / 3600.0:.1f} h"
