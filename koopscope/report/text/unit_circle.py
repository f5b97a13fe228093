"""Eigenvalues on the unit circle, drawn with characters.

The largest shares lie on top; letters name the rows of the table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from koopscope.report.text.canvas import Canvas
from koopscope.report.text.eigenvalue_rows import Folded
from koopscope.report.text.terminal_style import Page

#: Names of the rows of the table next to the plot, in order; what comes later is a point.
LABELS = "123456789abcdefghijklmnopqrstuvwxyz"

#: Eigenvalues farther out than this are drawn at the rim, so that the circle stays legible.
OUTERMOST = 1.6


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
