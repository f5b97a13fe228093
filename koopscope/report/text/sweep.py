"""What several runs say together, as text: a ranking, and the depth that is enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from koopscope.report.text.terminal_style import (
    Cell,
    Page,
    columns_of,
    fitted_table,
    table,
    wrapped,
)

#: Columns of all but what to do with a run, and of that at least.
_OTHERS, _LEAST = 64, 14


def sweep_lines(sweep: Mapping[str, Any], page: Page) -> list[str]:
    """Return the lines of ``koopscope.diagnostics.sweep.sweep_of``."""
    lines = []
    if "ranking" in sweep:
        lines += _ranking(sweep["ranking"], page)
    if "suggested_depth" in sweep:
        lines += ["", *_depth(sweep, page)] if lines else _depth(sweep, page)
    return lines


def _ranking(ranking: Mapping[str, Any], page: Page) -> list[str]:
    heads = ["state", *([ranking["by"]] if ranking["by"] else []), "restart", "rate", "do"]
    if all(run["rate"] is None for run in ranking["runs"]):
        heads.remove("rate")
    rows = [
        [
            Cell("Ranking", "title"),
            *(Cell(head, "faint", right=head not in ("state", "do")) for head in heads),
        ]
    ]
    names = _names([run["path"] for run in ranking["runs"]], page)
    for name, run in zip(names, ranking["runs"], strict=True):
        role = "strong" if run["rank"] == 1 else "plain"
        texts = {
            "state": run["state"],
            ranking["by"]: _number(run["value"], "{:.4g}", page),
            "restart": _number(run["restart_score"], "{:.2f}", page),
            "rate": _number(run["rate"], "{:g}", page),
            "do": _shortened(run["do"], page),
        }
        rows.append(
            [
                Cell(f"  {name}", role),
                *(Cell(texts[h], role, right=h not in ("state", "do")) for h in heads),
            ]
        )
    legend = "restart: 0 is a good start, 1 a bad one"
    if ranking["by"]:
        legend = f"{ranking['by']}: the best value of each run; {legend}"
    faint = [page.style(line, "faint") for line in wrapped(legend, page)]
    return [*fitted_table(rows, page), *faint, *wrapped(ranking["sentence"], page)]


def _names(paths: list[str], page: Page) -> list[str]:
    """Return paths, or the files' names where the page is narrow and they tell the runs apart."""
    files = [PurePath(path).name for path in paths]
    return paths if page.width is None or len(set(files)) < len(files) else files


def _number(value: float | None, form: str, page: Page) -> str:
    return page.glyphs.dash if value is None else form.format(value)


def _shortened(text: str, page: Page) -> str:
    """Return what to do, up to where the page has no more room; the whole where it has no width."""
    if page.width is None:
        return text
    room = max(_LEAST, page.width - _OTHERS)
    first = text if len(text) <= room else text.partition(";")[0].partition(",")[0]
    if len(first) <= room:
        return first
    return first[: room - columns_of(page.glyphs.cut)].rstrip() + page.glyphs.cut


def _depth(sweep: Mapping[str, Any], page: Page) -> list[str]:
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
