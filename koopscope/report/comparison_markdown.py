"""A comparison as Markdown, short enough to be a comment on a pull request."""

from __future__ import annotations

from koopscope.comparison.results import Comparison, PairComparison
from koopscope.report.gate.markdown import cell
from koopscope.report.text.terminal_style import Page

_SIGNS = {"same": "✅", "different": "❌", "inconclusive": "❔"}


def render(found: Comparison, page: Page) -> str:
    """Return a section per pair; the page does not matter."""
    lines = ["## koopscope compare", ""]
    for pair in found.pairs:
        lines += _pair(pair)
    return "\n".join(lines).rstrip("\n")


def _pair(pair: PairComparison) -> list[str]:
    names = f"{cell(pair.first.name)} against {cell(pair.second.name)}"
    lines = [f"### {_SIGNS[pair.verdict]} {names}: {pair.verdict}", "", cell(pair.reason), ""]
    if pair.layers:
        lines += ["| layer | weights | distance | apart at step |", "|---|--:|--:|--:|"]
        for layer in pair.layers:
            step = "" if layer.parts_at_step is None else f"{layer.parts_at_step:,}"
            lines.append(
                f"| {cell(layer.name)} | {layer.size:,} | {layer.distance.value:.2f} | {step} |"
            )
        lines.append("")
    return lines + [f"- {cell(note)}" for note in pair.notes] + ([""] if pair.notes else [])
