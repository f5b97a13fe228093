"""Numbers in words: with no more digits than are known, in as little room as a table has."""

from __future__ import annotations

import math


def count(number: int, thing: str) -> str:
    """Return for example ``1 snapshot`` or ``1,200 snapshots``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def interval(steps: float) -> str:
    """Return what follows "per": ``step`` or ``37 steps``."""
    return "step" if steps == 1 else f"{steps:,.6g} steps"


def step_range(first: int, last: int) -> str:
    """Return ``step 5`` or ``steps 5 to 1,200``."""
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def duration(steps: float, if_infinite: str) -> str:
    """Return a number of steps with the three digits that are known at best."""
    if math.isinf(steps):
        return if_infinite
    return f"{float(f'{steps:.3g}'):,.0f}" if steps >= 100.0 else f"{steps:.3g}"


def small(number: float) -> str:
    """Return a number of about 1 or below with three decimals, or its power of ten."""
    if number == 0.0:
        return "0"
    return f"{number:.3f}" if number >= 5e-4 else f"{number:.0e}"


def share(part: float) -> str:
    """Return a part of a whole in percent; what is there is never shown as 0%."""
    return "<1%" if 0.0 < part < 0.005 else f"{part:.0%}"


def percent(part: float) -> str:
    """Return a ratio of any size in percent, as a multiple where that would be too long."""
    if part == 0.0:
        return "0%"
    if part >= 999.995:
        return f"{part:.1e}x"
    return f"{100.0 * part:.0f}%" if part >= 0.1 else f"{100.0 * part:.2g}%"
