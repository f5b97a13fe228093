"""A comparison as a page: the verdict, the pictures, the tables."""

from __future__ import annotations

from koopscope.comparison.results import Comparison
from koopscope.report import comparison
from koopscope.report.html.printed import printed
from koopscope.report.text.terminal_style import Page


def render(found: Comparison, page: Page) -> str:
    """Return the comparison as one HTML page."""
    from koopscope.report.figures import comparison as figures
    from koopscope.report.figures.style import styled, to_bytes

    drawn = {
        "Distance of the weights over the steps": figures.distances,
        "Eigenvalues of both over each other": figures.spectra,
        "Distance layer by layer": figures.layers,
    }
    with styled():
        pictures = {words: to_bytes(draw(found), "png") for words, draw in drawn.items()}
    first, second = found.foremost.first.name, found.foremost.second.name
    return printed(
        f"{first} against {second}",
        f"{found.verdict.capitalize()}: {found.foremost.reason}",
        comparison.render(found, Page(width=92)),
        comparison.document(found),
        pictures,
    )
