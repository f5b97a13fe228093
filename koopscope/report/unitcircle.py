"""Eigenvalues on the unit circle, drawn with characters.

Braille dots where the page can show them, else the nearest ASCII signs from the same canvas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from koopscope.report.folding import Folded
from koopscope.report.page import Page

#: Names of the rows of the table next to the plot, in order; what comes later is a point.
LABELS = "123456789abcdefghijklmnopqrstuvwxyz"

#: Eigenvalues farther out than this are drawn at the rim, so that the circle stays legible.
OUTERMOST = 1.6

# Bit of a braille pattern for the dot at (row, column) of its 4 x 2 cell.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_UPPER = 0x01 | 0x08 | 0x02 | 0x10


class Canvas:
    """A grid of characters, each of 2 x 4 dots, with letters on top."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._dots = [[0] * columns for _ in range(rows)]
        self._letters: dict[tuple[int, int], tuple[str, str]] = {}

    def dot(self, x: float, y: float) -> None:
        """Set the dot at (x, y) in [0, 1), y upwards."""
        across, down = int(x * 2 * self.columns), int((1.0 - y) * 4 * self.rows)
        if 0 <= across < 2 * self.columns and 0 <= down < 4 * self.rows:
            self._dots[down // 4][across // 2] |= _DOTS[down % 4][across % 2]

    def letter(self, x: float, y: float, sign: str, role: str) -> None:
        """Write a sign over the character at (x, y)."""
        column = min(self.columns - 1, max(0, int(x * self.columns)))
        row = min(self.rows - 1, max(0, int((1.0 - y) * self.rows)))
        self._letters[row, column] = (sign, role)

    def lines(self, page: Page) -> list[str]:
        """Return the picture, one string of ``columns`` characters per row."""
        return [
            "".join(self._character(row, column, page) for column in range(self.columns))
            for row in range(self.rows)
        ]

    def _character(self, row: int, column: int, page: Page) -> str:
        if (row, column) in self._letters:
            return page.style(*self._letters[row, column])
        dots = self._dots[row][column]
        if not dots:
            return " "
        if page.unicode:
            return page.style(chr(0x2800 + dots), "faint")
        upper, lower = dots & _UPPER, dots & ~_UPPER
        return page.style(":" if upper and lower else "'" if upper else ".", "faint")


def draw(eigenvalues: Sequence[Folded], roles: Sequence[str], rows: int, page: Page) -> list[str]:
    """Draw folded eigenvalues; both members of a pair carry the pair's label.

    Parameters
    ----------
    eigenvalues
        Largest share first; the largest is drawn on top where several meet in one character.
    roles
        The style of each.
    rows
        Height in characters; the picture is twice as wide, so that the circle is round.
    """
    canvas = Canvas(2 * rows, rows)
    farthest = max((row.magnitude for row in eigenvalues), default=1.0)
    radius = 0.5 / (1.05 * min(max(1.0, farthest), OUTERMOST))

    def place(value: complex) -> tuple[float, float]:
        length = abs(value)
        shown = value if length <= OUTERMOST else value / length * OUTERMOST
        return 0.5 + shown.real * radius, 0.5 + shown.imag * radius

    turns = 16 * rows
    for k in range(turns):
        angle = 2.0 * math.pi * (k + 0.5) / turns  # never on the edge of a dot
        canvas.dot(0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle))
    for k in range(-8 * rows, 8 * rows + 1, 8):
        along = radius * k / (8 * rows)
        canvas.dot(0.5 + along, 0.5)
        canvas.dot(0.5, 0.5 + along)
    signs = [LABELS[j] if j < len(LABELS) else "." for j in range(len(eigenvalues))]
    for row, role, sign in reversed(list(zip(eigenvalues, roles, signs, strict=True))):
        for value in {row.value, row.value.conjugate()}:
            canvas.letter(*place(value), sign, role)
    return canvas.lines(page)
