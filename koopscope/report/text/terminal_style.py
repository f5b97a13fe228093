"""What the place a report goes to can show: its width, its characters, its colours.

Knows the signs of the field in two alphabets, and how to lay out and wrap lines of text; must
never look at a stream or at the environment itself.
"""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from koopscope.inert import inert


@dataclass(frozen=True)
class Glyphs:
    """Every character outside ASCII that a report writes, by what it stands for."""

    eigenvalue: str
    magnitude: str
    plus_minus: str
    dash: str
    cut: str
    infinity: str
    hint: str
    marks: dict[str, str]
    levels: str
    residual_marks: tuple[str, str, str]


UNICODE = Glyphs(
    eigenvalue="λ",
    magnitude="|λ|",
    plus_minus="±",
    dash="–",
    cut="…",
    infinity="∞",
    hint="→",
    marks={"pass": "✓", "info": "i", "warn": "!", "fail": "✗", "inconclusive": "?"},
    levels="▁▂▃▄▅▆▇█",
    residual_marks=("●", "◐", "○"),
)
ASCII = Glyphs(
    eigenvalue="lambda",
    magnitude="|l|",
    plus_minus="+-",
    dash="-",
    cut="..",
    infinity="inf",
    hint="->",
    marks={"pass": "+", "info": "i", "warn": "!", "fail": "x", "inconclusive": "?"},
    levels="_.:-=+*#",
    residual_marks=("@", "o", "."),
)

#: Terminal colours and weights by role; readable on light and dark backgrounds alike.
_SEQUENCES = {
    "plain": "",
    "title": "1",
    "strong": "1",
    "faint": "2",
    "pass": "32",
    "info": "36",
    "warn": "33",
    "fail": "1;31",
    "inconclusive": "35",
}
_COLOURED = frozenset({"pass", "info", "warn", "fail", "inconclusive"})


#: Ratio of the highest to the lowest value from which on a curve is drawn by logarithms.
_DECADES = 1e3

#: Names are not shortened below this many columns.
NARROWEST_NAME = 12


@dataclass(frozen=True)
class Page:
    """Where a report is written to.

    Attributes
    ----------
    width
        Columns, or ``None`` where lines may be as long as they like and nothing is cut.
    unicode
        Whether characters outside ASCII can be written.
    styled
        Whether text can be bold or faint.
    coloured
        Whether it can have colours as well.
    """

    width: int | None = None
    unicode: bool = True
    styled: bool = False
    coloured: bool = False

    @property
    def glyphs(self) -> Glyphs:
        """The characters to write with."""
        return UNICODE if self.unicode else ASCII

    def style(self, text: str, role: str) -> str:
        """Return the text, inert, in the style of a role; plain where the page has no styles."""
        text = inert(text)
        codes = _SEQUENCES[role]
        if not text.strip() or not codes or not self.styled:
            return text
        if role in _COLOURED and not self.coloured:
            return text
        return f"\x1b[{codes}m{text}\x1b[0m"


@dataclass(frozen=True)
class Cell:
    """A piece of text, made inert, with one style; numbers go to the right of their column."""

    text: str
    role: str = "plain"
    right: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", inert(self.text))


def columns_of(text: str) -> int:
    """Return how many terminal columns a text without styles takes."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
        for sign in text
    )


def shortened(name: str, width: int, page: Page) -> str:
    """Fit a module's name into ``width`` columns, keeping what tells it from its neighbours.

    Its words are cut to their first letters from the left, numbers and the last word stay
    (``transformer.blocks.10.attention`` becomes ``tra.blo.10.attention``); where that is not
    enough, the beginning is left out.
    """
    words = re.split(r"([./])", name)
    for letters in (3, 1):
        for k, word in enumerate(words[:-1]):
            if columns_of("".join(words)) <= width:
                return "".join(words)
            if not word.isdigit():
                words[k] = word[:letters]
    short = "".join(words)
    if columns_of(short) <= width:
        return short
    kept = len(short)
    while kept and columns_of(page.glyphs.cut + short[-kept:]) > width:
        kept -= 1
    return page.glyphs.cut + short[len(short) - kept :]


def table(rows: Sequence[Sequence[Cell]], page: Page, gap: str = "  ") -> list[str]:
    """Lay out rows of cells in columns as wide as they need; no line ends in spaces."""
    widths = [max(columns_of(cell.text) for cell in column) for column in zip(*rows, strict=True)]
    return [gap.join(_padded(row, widths, page)).rstrip() for row in rows]


def with_short_names(rows: Sequence[Sequence[Cell]], page: Page) -> list[list[Cell]]:
    """Return rows whose first cells leave the others the room they need on the page."""
    if page.width is None:
        return [list(row) for row in rows]
    columns = list(zip(*rows, strict=True))[1:]
    others = sum(2 + max(columns_of(cell.text) for cell in column) for column in columns)
    room = max(NARROWEST_NAME, page.width - others)
    return [[Cell(shortened(row[0].text, room, page), row[0].role), *row[1:]] for row in rows]


def fitted_table(rows: Sequence[Sequence[Cell]], page: Page) -> list[str]:
    """Lay out a table whose names give way where the page is too narrow for everything."""
    return table(with_short_names(rows, page), page)


def _padded(row: Sequence[Cell], widths: Sequence[int], page: Page) -> list[str]:
    pieces = []
    for cell, width in zip(row, widths, strict=True):
        space = " " * (width - columns_of(cell.text))
        text = page.style(cell.text, cell.role)
        pieces.append(space + text if cell.right else text + space)
    return pieces


def wrapped(text: str, page: Page, indent: int = 0) -> list[str]:
    """Break a sentence, made inert, into lines for the page; no name or number is broken."""
    text = inert(text)
    if page.width is None:
        return [text]
    return textwrap.wrap(
        text,
        max(20, page.width - indent),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def sparkline(values: Sequence[float], width: int, page: Page) -> str:
    """Draw a series of non-negative numbers as ``width`` characters, each the mean of its share."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [len(values) * k // count for k in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    top = max(means)
    levels = page.glyphs.levels
    if top <= 0.0:
        return page.glyphs.dash
    return "".join(levels[min(len(levels) - 1, int(mean / top * len(levels)))] for mean in means)


def curve(values: Sequence[float], width: int, page: Page) -> str:
    """Draw a series from its lowest to its highest value; what is missing (NaN) is a space.

    Each of the ``width`` characters is the mean of its share of the values. Positive values that
    span more than three powers of ten are drawn by their logarithms. Infinite ones are the highest.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    if low > 0.0 and high / low > _DECADES:
        logs = [math.log(value) if 0.0 < value < math.inf else value for value in values]
        return curve(logs, width, page)
    count = min(width, len(values))
    levels = page.glyphs.levels
    drawn = []
    for k in range(count):
        share = values[len(values) * k // count : len(values) * (k + 1) // count]
        there = [min(value, high) for value in share if not math.isnan(value)]
        if not there:
            drawn.append(" ")
            continue
        part = (sum(there) / len(there) - low) / (high - low) if high > low else 0.0
        drawn.append(levels[max(0, min(len(levels) - 1, int(part * len(levels))))])
    return "".join(drawn)
