"""What ``koopscope contraction`` reports, as text for people and as JSON for programs.

A function of what was found; computes and decides nothing of its own.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.finding import Finding
from koopscope.report.envelope import JsonObject, enveloped
from koopscope.report.text.findings import findings_lines
from koopscope.report.text.terminal_style import Cell, Page, table
from koopscope.spectra.iterates.acceleration import iterations_worth
from koopscope.spectra.iterates.contraction import Contraction


@dataclass(frozen=True)
class ContractionReport:
    """A run of iterates, what they tell of their operator, and that in words."""

    analysis: Analysis
    found: Contraction
    findings: tuple[Finding, ...]


def document(report: ContractionReport) -> JsonObject:
    """Return the report as plain JSON values."""
    run, found, fixed = report.analysis.description, report.found, report.found.fixed
    return enveloped(
        {
            "run": {
                "path": run.path,
                "iterates": report.analysis.window.snapshots,
                "usable": fixed.usable,
                "size": sum(t.size for t in run.tensors if t.kind == "state"),
                "dtype": run.dtype,
            },
            "contraction": {
                "state": found.state,
                "factor": fixed.factor,
                "interval": fixed.interval,
                "leading": {"re": fixed.leading.real, "im": fixed.leading.imag},
                "largest_ratio": fixed.largest_ratio,
                "rank": fixed.spectrum.rank,
                "held_out_error": fixed.held_out_error,
                "fixed_point": {
                    "first_distance": fixed.distances[0],
                    "last_distance": fixed.distances[-1],
                    "distances": fixed.distances,
                },
                "bounds": {
                    "factor": found.bounding_factor,
                    "a_priori": found.a_priori,
                    "a_posteriori": found.a_posteriori,
                },
                "iterations": [
                    {
                        "tolerance": needed.tolerance,
                        "iterations": needed.predicted,
                        "interval": needed.interval,
                        "guaranteed": needed.a_priori,
                    }
                    for needed in found.iterations
                ],
                "relaxation": asdict(found.relaxation),
                "anderson": [
                    asdict(step) | {"worth": iterations_worth(step.residual, fixed.factor)}
                    for step in found.anderson
                ],
                "newton": asdict(found.newton) if found.newton else None,
            },
            "findings": [finding.plain() for finding in report.findings],
        }
    )


def render(report: ContractionReport, page: Page) -> str:
    """Return the report as text for a page."""
    run, window = report.analysis.description, report.analysis.window
    states = [tensor for tensor in run.tensors if tensor.kind == "state"]
    size = sum(tensor.size for tensor in states)
    usable = report.found.fixed.usable
    dropped = usable < window.snapshots
    sections = [
        [
            page.style(run.path, "title"),
            f"{window.snapshots} iterates of {size:,} numbers, {run.dtype}"
            + (f"; the first {usable} move by more than rounding" if dropped else ""),
        ],
        _operator(report.found, page),
        _iterations(report.found, page),
        _faster(report.found, page),
        findings_lines(report.findings, page),
    ]
    return "\n\n".join("\n".join(section) for section in sections)


def _operator(found: Contraction, page: Page) -> list[str]:
    fixed = found.fixed
    low, high = fixed.interval
    last = fixed.usable - 1
    rows = [
        (
            "factor",
            f"{fixed.factor:.5g}",
            f"in [{low:.5g}, {high:.5g}], rank {fixed.spectrum.rank}",
        ),
        ("largest ratio", f"{fixed.largest_ratio:.5g}", "of successive increments"),
        ("distance", _number(fixed.distances[0], page), "of iterate 0 from x*, predicted"),
        ("", _number(fixed.distances[-1], page), f"of iterate {last} from x*, predicted"),
        ("", _number(found.a_posteriori, page), f"of iterate {last}, a posteriori bound"),
        ("", _number(found.a_priori, page), f"of iterate {last}, a priori bound"),
    ]
    return [page.style(f"Operator: {found.state.replace('_', ' ')}", "title"), *_rows(rows, page)]


def _iterations(found: Contraction, page: Page) -> list[str]:
    heads = ("tolerance", "iterations", "between", "guaranteed")
    cells = [[Cell("  "), *(Cell(head, "faint", right=True) for head in heads)]]
    for needed in found.iterations:
        low, high = needed.interval
        values = (
            f"{needed.tolerance:g}",
            _count(needed.predicted, page),
            f"{_count(low, page)} and {_count(high, page)}",
            page.glyphs.dash if needed.a_priori is None else _count(needed.a_priori, page),
        )
        cells.append([Cell("  "), *(Cell(value, right=True) for value in values)])
    return [page.style("Iterations needed", "title"), *table(cells, page)]


def _faster(found: Contraction, page: Page) -> list[str]:
    relaxed, factor = found.relaxation, found.fixed.factor
    rows = [
        ("damped", f"a = {relaxed.damped_weight:.3f}", f"factor {relaxed.damped_factor:.5g}"),
        ("best", f"a = {relaxed.weight:.3f}", f"factor {relaxed.factor:.5g}"),
    ]
    for step in found.anderson:
        rows.append(
            (
                "Anderson",
                f"depth {step.depth}",
                f"leaves {step.residual:.1e} of the increment{_worth(step.residual, factor)}",
            )
        )
    if found.newton is not None:
        step_error = found.newton.error
        rows.append(
            (
                "Newton",
                f"from {found.newton.at}",
                f"leaves {step_error:.1e} of the distance{_worth(step_error, factor)}",
            )
        )
    return [page.style("Instead of plain iteration", "title"), *_rows(rows, page)]


def _rows(rows: list[tuple[str, str, str]], page: Page) -> list[str]:
    cells = [
        [Cell(f"  {name}"), Cell(value, "strong", right=True), Cell(note, "faint")]
        for name, value, note in rows
    ]
    return table(cells, page)


def _worth(reduction: float, factor: float) -> str:
    worth = iterations_worth(reduction, factor)
    return "" if worth is None or worth < 0.5 else f", as {worth:.0f} iterations do"


def _number(value: Any, page: Page) -> str:
    if value is None or not math.isfinite(value):
        return page.glyphs.dash
    return f"{value:.3g}"


def _count(number: float, page: Page) -> str:
    return f"{number:,.0f}" if math.isfinite(number) else page.glyphs.infinity
