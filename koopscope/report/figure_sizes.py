"""The widths that figures are made in, by name; knows no matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

FigureSize = Literal["two-column", "one-column"]

#: Width in inches: the whole text block of a page, or one of its two columns. The first is usual.
WIDTHS: Mapping[FigureSize, float] = {"two-column": 7.0, "one-column": 3.35}

FIGURE_SIZES: tuple[FigureSize, ...] = tuple(WIDTHS)

USUAL: FigureSize = FIGURE_SIZES[0]
