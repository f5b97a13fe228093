"""Masks as a page: how many weights go, then layer by layer."""

from __future__ import annotations

from koopscope.report import pruning
from koopscope.report.html.printed import printed
from koopscope.report.pruning import PruningReport, layers_of
from koopscope.report.text.terminal_style import Page


def render(report: PruningReport, page: Page) -> str:
    """Return the report as one HTML page."""
    run = report.basis.analysis.description
    return printed(
        f"Pruning of {run.path}",
        "; ".join(_kept(report)) + ".",
        pruning.render(report, Page(width=92)),
        pruning.document(report),
    )


def _kept(report: PruningReport) -> list[str]:
    sentences = []
    for each in report.prunings:
        layers = layers_of(each)
        kept, total = (sum(getattr(layer, part) for layer in layers) for part in ("kept", "total"))
        sentences.append(f"{kept:,} of {total:,} weights stay, {total - kept:,} go")
    return sentences
