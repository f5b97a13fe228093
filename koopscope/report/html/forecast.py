"""A forecast as a page: the sentence, the picture, the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from koopscope.report import forecast
from koopscope.report.html.printed import printed
from koopscope.report.text.terminal_style import Page

if TYPE_CHECKING:
    from koopscope.forecasting.results import Forecast


def render(found: Forecast, page: Page) -> str:
    """Return the forecast as one HTML page."""
    from koopscope.report.figures.forecast import figure
    from koopscope.report.figures.style import styled, to_bytes

    with styled():
        image = to_bytes(figure(found), "png")
    text = forecast.render(found, Page(width=92))
    return printed(
        f"Forecast of {found.description.path}",
        f"{found.verdict}.",
        text,
        forecast.document(found),
        {"Past and predicted way of the weights, and the error of past forecasts": image},
    )
