"""A spectrum as text: the unit circle, the table of eigenvalues, and what is known about it."""

from __future__ import annotations

import math

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.summary import Rest, SpectrumSummary, Summary
from koopscope.report.text.eigenvalue_rows import RESIDUAL_SCALE, Folded, folded, residual_level
from koopscope.report.text.numbers import count, duration, interval, percent, share, small
from koopscope.report.text.terminal_style import Cell, Page, table, wrapped
from koopscope.report.text.unit_circle import LABELS, draw

#: Rows of the plot and of the table next to it.
PLOT_ROWS = 15
TABLE_ROWS = 12

#: A half-life is shown where the ends of its interval differ by at most this factor: it is then
#: known to a factor of about two. Wider ones are not the same from one seed of a recipe to the next
#: (docs/evidence/numerics.md).
HALF_LIFE_SPAN = 4.0

#: What stands for a half-life that resamples of the run do not agree on.
UNSURE = "?"

#: Styles by residual level: what is far from being an eigenvalue is faint.
ROLES = ("strong", "plain", "faint")


def spectrum_lines(analysis: Analysis, summary: Summary, page: Page) -> list[str]:
    """Return the network's spectrum as lines for the page, or why there is none."""
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
