"""A drawing area of characters: braille dots where the page can show them, else ASCII signs."""

from __future__ import annotations

import math

from koopscope.report.text.terminal_style import Page

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

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Set the dots between two places, coordinates as in ``dot``."""
        (x, y), (to_x, to_y) = start, end
        longest = max(abs(to_x - x) * 2 * self.columns, abs(to_y - y) * 4 * self.rows)
        count = max(1, math.ceil(longest))
        for k in range(count + 1):
            part = k / count
            self.dot(x + part * (to_x - x), y + part * (to_y - y))

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
