"""Writes a diagnosis as text: what was read, the spectrum, the layers, the findings.

Lays out what the analysis and the diagnostics say; computes and decides nothing of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.motion import Motion
from koopscope.analysis.summary import Rest, ScopeSummary, SpectrumSummary, Summary
from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.report.analysis_report import Report
from koopscope.report.text.eigenvalue_rows import RESIDUAL_SCALE, Folded, folded, residual_level
from koopscope.report.text.numbers import (
    count,
    duration,
    interval,
    percent,
    share,
    small,
    step_range,
)
from koopscope.report.text.terminal_style import (
    Cell,
    Page,
    sparkline,
    table,
    with_short_names,
    wrapped,
)
from koopscope.report.text.unit_circle import LABELS, draw

#: Rows of the plot and of the table next to it.
PLOT_ROWS = 15
TABLE_ROWS = 12

#: Characters of the history under the convergence finding.
HISTORY_COLUMNS = 24

#: Characters of the speed column.
SPARK_COLUMNS = 10

#: A half-life is shown where the ends of its interval differ by at most this factor: it is then
#: known to a factor of about two. Wider ones are not the same from one seed of a recipe to the next
#: (docs/evidence/numerics.md).
HALF_LIFE_SPAN = 4.0

#: What stands for a half-life that resamples of the run do not agree on.
UNSURE = "?"

#: Styles by residual level: what is far from being an eigenvalue is faint.
ROLES = ("strong", "plain", "faint")


def render(report: Report, page: Page) -> str:
    """Return the report as text for a page."""
    parts = [_run(diagnosis, page) for diagnosis in report.diagnoses]
    if report.sweep is not None:
        parts.append("\n".join(_sweep(report.sweep, page)))
    return "\n\n\n".join(parts)


def _run(diagnosis: Diagnosis, page: Page) -> str:
    analysis = diagnosis.analysis
    summary = diagnosis.summary
    sections = [_header(analysis, page), _spectrum(analysis, summary, page)]
    if summary.layers:
        sections.append(_layers(analysis, summary, page))
    sections.append(findings_lines(diagnosis.findings, page))
    return "\n\n".join("\n".join(section) for section in sections)


def _sweep(sweep: Mapping[str, Any], page: Page) -> list[str]:
    rows = [
        [Cell("Depth sweep", "title"), Cell("depth", "faint", True), Cell("excess", "faint", True)]
    ]
    for run in sweep["runs"]:
        role = "strong" if run["path"] == sweep["suggested_run"] else "plain"
        values = (str(run["depth"]), f"{run['excess']:.2f}")
        rows.append([Cell(run["path"], role), *(Cell(value, role, True) for value in values)])
    sentence = (
        f"Depth {sweep['suggested_depth']} is enough: it is the smallest within "
        f"{sweep['tolerance']:.2f} of the best, by {sweep['method']} (0 is the best of the sweep, "
        "1 the worst)."
    )
    return [*table(rows, page), *wrapped(sentence, page)]


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


def _spectrum(analysis: Analysis, summary: Summary, page: Page) -> list[str]:
    title = page.style("Spectrum of the network", "title")
    spectrum = summary.asked
    if spectrum is None or spectrum.confidence is None:
        usable = count(analysis.window.snapshots, "usable snapshot")
        why = (
            f"none: {usable}, and it takes {analysis.snapshots_needed}"
            if analysis.finite_tensors
            else "none: no tensor is finite"
        )
        return [title, *wrapped(why, page)]
    delayed = f", {spectrum.delay} delays" if spectrum.delay > 1 else ""
    is_filtered = spectrum.noise_filter != "none"
    after = f" after the {spectrum.noise_filter} filter" if is_filtered else ""
    lines = [
        title
        + f": {spectrum.observable}{after}{delayed}, rank {spectrum.rank} of {spectrum.pairs}, "
        f"{page.glyphs.eigenvalue} per {interval(spectrum.spacing_steps)}"
    ]
    rows = folded(spectrum)
    if not rows:
        return [*lines, "nothing moved between the snapshots"]
    # An eigenvalue far outside shrinks the circle; what is left free above and below is dropped.
    picture = beside(_plot(rows, page), eigenvalue_table(rows, page), 2 * PLOT_ROWS)
    used = [k for k, line in enumerate(picture) if line]
    lines += picture[used[0] : used[-1] + 1]
    if spectrum.rest is not None:
        lines += wrapped(_rest(spectrum.rest, page), page)
    if summary.unfiltered is not None:
        before = summary.unfiltered
        lines += _line_of_magnitudes(before, page, f"{before.observable} before the filter")
    error = spectrum.confidence.held_out.error
    if math.isfinite(error):
        lines += wrapped(
            f"test: fitted to the first two thirds of the run, it predicts the last third with an "
            f"error {error:.2g} times that of assuming no change",
            page,
        )
    if summary.other is not None:
        lines += _line_of_magnitudes(summary.other, page, summary.other.observable + after)
    return lines


def _rest(rest: Rest, page: Page) -> str:
    """Return in words what the eigenvalue 1 of an affine law stands for."""
    mode = f"{page.glyphs.eigenvalue} = 1 is the constant part of the law"
    if not rest.exists:
        return f"{mode}; a second eigenvalue is 1 as well, so the weights drift and never rest"
    ahead = percent(rest.ahead) if math.isfinite(rest.ahead) else "nothing"
    if not rest.is_approached:
        return f"{mode}, a point {ahead} of the window's displacement away that is not approached"
    return f"{mode}: it comes to rest {ahead} of the window's displacement ahead"


def _plot(rows: tuple[Folded, ...], page: Page) -> list[str]:
    return draw(rows, [ROLES[residual_level(row.residual)] for row in rows], PLOT_ROWS, page)


def eigenvalue_table(rows: tuple[Folded, ...], page: Page, most: int = TABLE_ROWS) -> list[str]:
    """Return the eigenvalues as a table of at most ``most`` rows, labelled as in the plot."""
    glyphs = page.glyphs
    sampled = any(row.compression_error > 0.0 for row in rows)
    third = "sample" if sampled else "period"  # what compression did matters more where it did
    heads = ("", glyphs.magnitude, third, "halves", "resid.", "share")
    cells = [[Cell(head, "faint", right=True) for head in heads]]
    for label, row in zip(LABELS, rows[:most], strict=False):
        level = residual_level(row.residual)
        values = (
            label,
            f"{row.magnitude:.4f}{_reach(row.reach, page)}",
            small(row.compression_error) if sampled else duration(row.period_steps, glyphs.dash),
            half_life_cell(row, page),
            residual_cell(row.residual, page),
            share(row.share),
        )
        cells.append([Cell(value, ROLES[level], right=True) for value in values])
    lines = table(cells, page)
    if len(rows) > most:
        hidden = sum(row.share for row in rows[most:])
        lines.append(page.style(f"   {len(rows) - most} more, together {share(hidden)}", "faint"))
    low, high = RESIDUAL_SCALE
    full, half, empty = glyphs.residual_marks
    has_intervals = any(math.isfinite(row.reach) for row in rows)
    is_unsure = any(cell[3].text == UNSURE for cell in cells)
    unsure = f", {UNSURE} unsure" if is_unsure else ""
    intervals = f"{glyphs.plus_minus} 90%{'' if is_unsure else ' interval'}; "
    intervals = intervals if has_intervals else ""
    keys = [
        f"   {intervals}{'' if sampled else 'period, '}halves: in steps{unsure}",
        f"   resid.: {full} below {low}  {half} below {high}  {empty} above",
    ]
    if sampled:
        keys.insert(1, "   sample: error from not reading all weights")
    return [*lines, *(page.style(key, "faint") for key in keys)]


def residual_cell(residual: float, page: Page) -> str:
    """Return a residual with its mark; a dash alone where it would be 0 whatever the data."""
    if math.isnan(residual):
        return f"{page.glyphs.dash}  "
    return f"{small(residual)} {page.glyphs.residual_marks[residual_level(residual)]}"


def _line_of_magnitudes(spectrum: SpectrumSummary, page: Page, name: str) -> list[str]:
    rows = folded(spectrum)
    if not rows:
        return []
    shown = ", ".join(f"{row.magnitude:.4f} ({share(row.share)})" for row in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return wrapped(f"{name}: rank {spectrum.rank}, {page.glyphs.magnitude} {shown}{more}", page)


def beside(left: list[str], right: list[str], left_columns: int) -> list[str]:
    """Put two blocks side by side; ``left`` already fills its columns."""
    height = max(len(left), len(right))
    offset = max(0, (len(left) - len(right)) // 2)
    right = [""] * offset + right
    lines = []
    for k in range(height):
        start = left[k] if k < len(left) else " " * left_columns
        lines.append(f"{start}  {right[k] if k < len(right) else ''}".rstrip())
    return lines


def _layers(analysis: Analysis, summary: Summary, page: Page) -> list[str]:
    glyphs = page.glyphs
    tensors = {part.scope.name: part for part in summary.tensors}
    heads = ("weights", "moved", "path", "direct", glyphs.magnitude, "speed")
    title = "Layers and tensors" if tensors else "Layers"
    rows = [[Cell(title, "title"), *(Cell(head, "faint", head != "speed") for head in heads)]]
    for layer in summary.layers:
        rows.append([Cell(layer.scope.name), *_movement(layer, page)])
        for tensor in analysis.members(layer.scope) if tensors else ():
            name = Cell(f"  {tensor.name}", "faint")
            rows.append([name, *_movement(tensors[tensor.name], page)])
    legend = (
        "moved, path: displacement and path length relative to the norm at the first snapshot; "
        "direct: moved / path; speed: over time, each row relative to its own maximum"
    )
    fitting = with_short_names(rows, page)
    legend += "; some names are shortened" if fitting != rows else ""
    return [*table(fitting, page), *(page.style(line, "faint") for line in wrapped(legend, page))]


def _movement(part: ScopeSummary, page: Page) -> list[Cell]:
    glyphs = page.glyphs
    motion = part.motion
    leading = folded(part.spectrum)[:1] if part.spectrum is not None else ()
    # Nothing moved, or there are no more pairs than eigenvalues: there is nothing to fit a law to.
    magnitude = (
        f"{leading[0].magnitude:.4f} {glyphs.residual_marks[residual_level(leading[0].residual)]}"
        if leading and not math.isnan(leading[0].residual)
        else glyphs.dash
    )
    moved = len(part.speeds) > 0
    values = (
        f"{motion.parameters:,}",
        _relative(motion.displacement, motion, page) if moved else glyphs.dash,
        _relative(motion.path_length, motion, page) if moved else glyphs.dash,
        glyphs.dash if motion.directness is None else f"{motion.directness:.2f}",
        magnitude,
    )
    cells = [Cell(value, right=True) for value in values]
    return [*cells, Cell(sparkline(part.speeds.tolist(), SPARK_COLUMNS, page), "faint")]


def _relative(length: float, motion: Motion, page: Page) -> str:
    """Return a length in percent of the norm; a layer that starts at zero has no such number."""
    if motion.norm <= 0.0:
        return page.glyphs.dash if length == 0.0 else page.glyphs.infinity
    return percent(length / motion.norm)


def findings_lines(findings: tuple[Finding, ...], page: Page) -> list[str]:
    """Return findings with their hints as lines for the page."""
    name_columns = max((len(finding.id) for finding in findings), default=0)
    lines = [page.style("Findings", "title")]
    indent = 4 + name_columns + 2
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
        if finding.hint:
            arrow = page.glyphs.hint + " "
            hint = wrapped(finding.hint, page, indent + len(arrow))
            hint = [arrow + hint[0], *(" " * len(arrow) + line for line in hint[1:])]
            lines += [" " * indent + page.style(line, "faint") for line in hint]
    return lines


def improvement_ahead(finding: Finding) -> list[float]:
    """Return the improvement predicted ahead at each snapshot; of convergence alone, else empty."""
    if not isinstance(finding.evidence, ConvergenceEvidence):
        return []
    return [point.statistic for point in finding.evidence.stop_history]


def half_life_cell(row: Folded, page: Page) -> str:
    """Return a half-life in steps where resamples of the run agree on it."""
    low, high = row.half_life_low, row.half_life_high
    if math.isinf(low) and round(row.magnitude, 4) > 1.0:
        return "grows"
    if math.isinf(low) and math.isinf(high):
        return page.glyphs.infinity
    if not high <= HALF_LIFE_SPAN * low:
        return UNSURE
    return duration(row.half_life_steps, page.glyphs.infinity)


def _reach(half_width: float, page: Page) -> str:
    """Return the half-width of an interval in three digits: " ±.012", " ±2.28"."""
    if not math.isfinite(half_width):
        return ""
    digits = f"{half_width:.3f}"[1:] if half_width < 0.9995 else f"{half_width:.3g}"
    return f" {page.glyphs.plus_minus}{digits}"
