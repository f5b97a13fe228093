"""A row per layer: how it moved. Of very many, those that stand out and a line for the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from koopscope.analysis.motion import Motion
from koopscope.analysis.summary import ScopeSummary, Summary
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.report.text.eigenvalue_rows import folded, residual_level
from koopscope.report.text.numbers import percent
from koopscope.report.text.terminal_style import (
    Cell,
    Page,
    sparkline,
    table,
    with_short_names,
    wrapped,
)

#: Characters of the speed column.
SPARK_COLUMNS = 10

#: Of more layers than this, only so many are shown: those that stand out.
MOST = 20


def layer_lines(diagnosis: Diagnosis, summary: Summary, page: Page) -> list[str]:
    """Return the table of layers, and of their tensors where the settings ask for them."""
    analysis, glyphs = diagnosis.analysis, page.glyphs
    tensors = {part.scope.name: part for part in summary.tensors}
    heads = ("weights", "moved", "path", "direct", glyphs.magnitude, "speed")
    title = "Layers and tensors" if tensors else "Layers"
    rows = [[Cell(title, "title"), *(Cell(head, "faint", head != "speed") for head in heads)]]
    shown = summary.layers if tensors else standing_out(diagnosis.findings, summary.layers)
    for layer in shown:
        rows.append([Cell(layer.scope.name), *_movement(layer, page)])
        for tensor in analysis.members(layer.scope) if tensors else ():
            name = Cell(f"  {tensor.name}", "faint")
            rows.append([name, *_movement(tensors[tensor.name], page)])
    full, half, empty = glyphs.residual_marks
    magnitude = (
        f"{glyphs.magnitude}: factor by which the leading motion changes from snapshot to "
        f"snapshot, {full} well fitted, {half} roughly, {empty} hardly"
    )
    legend = (
        "moved, path: displacement and path length relative to the norm at the first snapshot; "
        f"direct: moved / path; {magnitude}; speed: over time, each row relative to its own maximum"
    )
    fitting = with_short_names(rows, page)
    legend += "; some names are shortened" if fitting != rows else ""
    lines = table(fitting, page)
    hidden = len(summary.layers) - len(shown)
    if hidden:
        said = _of_the_others([each for each in summary.layers if each not in shown])
        lines += [
            page.style(line, "faint")
            for line in wrapped(f"{hidden} more layers{said} (--level tensor shows all)", page)
        ]
    return [*lines, *(page.style(line, "faint") for line in wrapped(legend, page))]


def standing_out(
    findings: Sequence[Finding], layers: Sequence[ScopeSummary]
) -> tuple[ScopeSummary, ...]:
    """Return at most twenty layers, in model order: those findings name, then the unusual ones.

    A layer is the more unusual the farther its relative displacement lies from the median, as a
    ratio; one that did not move at all is the most unusual.
    """
    if len(layers) <= MOST:
        return tuple(layers)
    named = {layer for finding in findings for layer in finding.action.layers or ()}
    moved = [_moved(each) for each in layers]
    middle = median(moved)

    def unusual(k: int) -> tuple[bool, float]:
        ratio = moved[k] / middle if middle > 0.0 else math.inf
        return layers[k].scope.name in named, abs(math.log(ratio)) if ratio > 0.0 else math.inf

    chosen = sorted(range(len(layers)), key=unusual, reverse=True)[:MOST]
    return tuple(layers[k] for k in sorted(chosen))


def _moved(layer: ScopeSummary) -> float:
    """Return a layer's relative displacement; large where it starts at zero."""
    motion = layer.motion
    if motion.norm > 0.0:
        return motion.displacement / motion.norm
    return 0.0 if motion.displacement == 0.0 else math.inf


def _of_the_others(layers: Sequence[ScopeSummary]) -> str:
    """Return how far the layers moved that are not shown."""
    moved = [_moved(each) for each in layers]
    if not all(math.isfinite(value) for value in moved):
        return ""
    return f" moved {percent(min(moved))} to {percent(max(moved))}"


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
