"""HTML that cannot be broken out of: whatever is not markup already is escaped and made inert.

Names, metadata and paths are chosen by whoever made a file. A string becomes text, never markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from koopscope.inert import inert


class Markup(str):
    """Text that is HTML already. Only this module and the charts make it, out of escaped parts."""

    __slots__ = ()


#: Elements without content.
_VOID = frozenset(("meta", "img", "br", "hr", "circle", "path", "line", "rect", "polyline", "stop"))


def escaped(text: str) -> str:
    """Return text as it may stand inside an element or a quoted attribute."""
    return html.escape(inert(text), quote=True)


def joined(parts: object) -> Markup:
    """Return content as markup: strings are escaped, sequences are put one after the other."""
    if isinstance(parts, Markup):
        return parts
    if isinstance(parts, str):
        return Markup(escaped(parts))
    if isinstance(parts, Iterable):
        return Markup("".join(joined(part) for part in parts))
    return Markup(escaped(str(parts)))


def element(name: str, /, *content: object, **attributes: object) -> Markup:
    """Return an element; ``None`` and ``False`` leave an attribute out, ``True`` gives its name.

    A trailing underscore is dropped (``class_``), other underscores become hyphens
    (``aria_label``).
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}/>")  # SVG inside HTML wants the slash
    return Markup(f"<{name}{written}>{joined(content)}</{name}>")


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escaped(str(value))}"'


def table(
    caption: str,
    heads: Iterable[str],
    rows: Iterable[Iterable[object]],
    *,
    right: frozenset[int] = frozenset(),
    sortable: bool = True,
) -> Markup:
    """Return a table that scrolls by itself where it is wider than the screen.

    Parameters
    ----------
    right
        Columns of numbers.
    sortable
        Whether a script may sort its rows.
    """
    titles = element(
        "tr",
        [
            element("th", head, scope="col", class_="n" if k in right else None)
            for k, head in enumerate(heads)
        ],
    )
    body = [
        element(
            "tr",
            [
                element("th", cell, scope="row", class_="n" if k in right else None)
                if k == 0
                else element("td", cell, class_="n" if k in right else None)
                for k, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    inner = element(
        "table",
        element("caption", caption),
        element("thead", titles),
        element("tbody", body),
        data_sortable=sortable,
    )
    return element("div", inner, class_="wide", tabindex="0", role="region", aria_label=caption)


def figure(picture: Markup, caption: str) -> Markup:
    """Return a picture with its caption; it scrolls by itself where the screen is narrow."""
    frame = element("div", picture, class_="wide", tabindex="0", role="group", aria_label=caption)
    return element("figure", frame, element("figcaption", caption))
