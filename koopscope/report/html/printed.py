"""A page of a report that is text: what the terminal shows, its pictures, and its data as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from koopscope.markup import Markup, element, figure, joined
from koopscope.report.envelope import JsonObject
from koopscope.report.html.document import document


def printed(
    title: str, lead: str, text: str, data: JsonObject, pictures: Mapping[str, bytes] | None = None
) -> str:
    """Return a whole page.

    Parameters
    ----------
    title
        Of the page, escaped.
    lead
        The sentence that matters most.
    text
        The report as a terminal without colours shows it.
    data
        The report as plain JSON values.
    pictures
        PNG images by what they show.
    """
    body = [
        element("h1", title),
        element("div", element("p", lead, class_="state"), class_="verdict info"),
        [_picture(words, image) for words, image in (pictures or {}).items()],
        # Every line is made inert by itself: a line break is layout here.
        Markup(
            '<pre tabindex="0" role="region" aria-label="the report as text">'
            + "\n".join(joined(line) for line in text.splitlines())
            + "</pre>"
        ),
    ]
    return document(f"koopscope: {title}", joined(body), data)


def _picture(words: str, image: bytes) -> Markup:
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    return figure(element("img", src=source, alt=words), words)
