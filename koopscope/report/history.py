"""Rows of many runs, as a table for people and as JSON; decides nothing."""

from __future__ import annotations

from dataclasses import asdict

from koopscope.history.rows import History, Row
from koopscope.report.envelope import JsonObject, enveloped
from koopscope.report.text.terminal_style import Cell, Page, fitted_table, sparkline, wrapped

_SPARK = 16


def document(found: History) -> JsonObject:
    """Return the rows as plain JSON values."""
    return enveloped(
        {
            "rows": [{**asdict(row), "worst": row.worst} for row in found.rows],
            "failed": [
                {"path": path, "error": error.message, "hint": error.hint}
                for path, error in found.failures
            ],
        }
    )


def render(found: History, page: Page) -> str:
    """Return one line per run."""
    if not found.rows:
        return "no run\n"
    heads = ("date", "steps", "state", "bad", "value", "")
    rows = [
        [Cell("Run", "title"), *(Cell(h, "faint", right=h in ("steps", "value")) for h in heads)]
    ]
    width = _SPARK if page.width is None else max(6, min(_SPARK, page.width - 68))
    rows += [_row(row, width, page) for row in found.rows]
    shown = sorted({row.metric for row in found.rows if row.metric})
    said = f"bad: findings that failed ({page.glyphs.marks['fail']}) and that warn (!); "
    said += f"value: the last {' or '.join(shown)}; " if shown else ""
    said += "picture: that value over the run, or the speed of the weights"
    legend = [page.style(line, "faint") for line in wrapped(said, page)]
    return "\n".join([*fitted_table(rows, page), *legend]) + "\n"


def _row(row: Row, width: int, page: Page) -> list[Cell]:
    look = row.worst if row.worst in page.glyphs.marks else "inconclusive"
    bad = f"{row.count('fail')}{page.glyphs.marks['fail']} {row.count('warn')}!"
    return [
        Cell(row.path),
        Cell(row.date[:10] or page.glyphs.dash),
        Cell(page.glyphs.dash if row.last_step is None else f"{row.last_step:,}", right=True),
        Cell(row.state or page.glyphs.dash),
        Cell(bad, look),
        Cell(page.glyphs.dash if row.value is None else f"{row.value:.4g}", right=True),
        Cell(sparkline([abs(value) for value in row.course], width, page) or page.glyphs.dash),
    ]
