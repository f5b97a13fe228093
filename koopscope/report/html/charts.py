"""Inline SVG: curves over steps, a heat map over time, eigenvalues on the unit circle.

Every picture has a title that says in words what it shows; colour only repeats what position, dash
or a legend say. Coordinates are rounded to a tenth of a pixel, so that pages stay small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64
from koopscope.markup import Markup, element

WIDTH = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 26, 30

#: Points of a curve: more than there are pixels would not show.
_MOST_POINTS = 360

#: Levels of a heat map; each is one path.
_LEVELS = 8

#: Longest name beside a heat map, in characters.
_NAME = 26


@dataclass(frozen=True)
class Mark:
    """A step that is pointed out, with a word or two."""

    step: float
    words: str


@dataclass(frozen=True)
class Curve:
    """One curve: its name in the legend, and float64 [T] values; NaN leaves a gap."""

    name: str
    values: Float64


def curves(
    title: str,
    steps: Float64,
    lines: Sequence[Curve],
    marks: Sequence[Mark] = (),
    *,
    height: int = 260,
    unit: str = "step",
) -> Markup:
    """Draw at most three curves over steps; a positive range over two decades gets a log scale."""
    finite = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    if len(finite) == 0 or len(steps) < 2:
        return element("p", f"{title}: nothing to draw.", class_="faint")
    low, high = float(finite.min()), float(finite.max())
    is_log = low > 0.0 and high / low > 100.0

    def scale(values: Float64) -> Float64:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(values) if is_log else values

    bottom, top = (math.log10(low), math.log10(high)) if is_log else (low, high)
    if top - bottom < 1e-12 * max(1.0, abs(top)):
        bottom, top = bottom - 0.5, top + 0.5
    inner = height - _TOP - _BOTTOM

    first, last = float(steps[0]), float(steps[-1])

    def across(step: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (step - first) / (last - first)

    def down(value: float) -> float:
        return _TOP + inner * (1.0 - (value - bottom) / (top - bottom))

    parts: list[object] = []
    ticks = _ticks(bottom, top)
    for tick in ticks:
        y = _px(down(tick))
        parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="axis"))
        label = f"{10.0**tick:.2g}" if is_log else f"{tick:.4g}"
        parts.append(_text(label, _LEFT - 6, down(tick) + 4, anchor="end", class_="faint"))
    parts.append(_text(f"{unit} {steps[0]:,.0f}", _LEFT, height - 8, class_="faint"))
    parts.append(
        _text(f"{steps[-1]:,.0f}", WIDTH - _RIGHT, height - 8, anchor="end", class_="faint")
    )
    for k, line in enumerate(lines):
        where = [
            (across(float(steps[i])), down(value)) for i, value in _thinned(scale(line.values))
        ]
        parts.append(element("path", d=_path(where), class_=f"series s{k % 3}"))
    parts += _marks(marks, across, height)
    parts += _legend([line.name for line in lines])
    return _picture(title, height, parts)


def line(title: str, values: Float64) -> Markup:
    """Draw a curve as wide as a word, from its lowest to its highest value; NaN leaves a gap."""
    finite = values[np.isfinite(values)]
    low = float(finite.min(initial=np.inf))
    span = float(finite.max(initial=-np.inf)) - low
    where = [
        (
            96.0 * k / max(1, len(values) - 1) + 2.0,
            2.0 + 16.0 * (1.0 - (value - low) / (span or 1.0)),
        )
        for k, value in enumerate(values.tolist())
    ]
    path = element("path", d=_path(where), class_="series s0")
    return element("svg", path, viewBox="0 0 100 20", role="img", aria_label=title, class_="line")


def heat_map(
    title: str, names: Sequence[str], values: Float64, steps: Float64, unit: str
) -> Markup:
    """Draw a row per name and a column per bin of time, darker for more.

    Parameters
    ----------
    values
        float64 [rows, columns] in [0, 1]; NaN is left empty.
    steps
        float64: the first and the last step.
    unit
        What dark stands for.
    """
    rows, columns = values.shape
    side = 14
    left = 8 + 7 * min(_NAME, max((len(name) for name in names), default=1))
    height = _TOP + rows * side + _BOTTOM
    wide = (WIDTH - left - _RIGHT) / max(1, columns)
    level = np.where(np.isfinite(values), np.ceil(np.nan_to_num(values) * _LEVELS), 0).astype(int)
    parts: list[object] = []
    for each in range(1, _LEVELS + 1):
        runs = []
        for row in range(rows):
            y = _TOP + row * side + 1
            for first, stop in _runs(level[row] == each):
                x, width = left + first * wide, (stop - first) * wide
                runs.append(f"M{_px(x)} {y}h{_px(width)}v{side - 2}h{_px(-width)}z")
        if runs:
            opacity = f"{each / _LEVELS:.3f}"
            parts.append(
                element("path", d="".join(runs), fill=f"rgba(var(--heat), {opacity})", class_="h")
            )
    for row, name in enumerate(names):
        short = name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
        parts.append(_text(short, left - 6, _TOP + row * side + 11, anchor="end"))
    parts.append(_text(unit, left, 16, class_="faint"))
    parts.append(_text(f"step {steps[0]:,.0f}", left, height - 10, class_="faint"))
    parts.append(
        _text(f"{steps[-1]:,.0f}", WIDTH - _RIGHT, height - 10, anchor="end", class_="faint")
    )
    return _picture(title, height, parts)


def unit_circle(
    title: str, eigenvalues: Complex128, shares: Float64, residuals: Float64, most_residual: float
) -> Markup:
    """Draw eigenvalues in the plane: area is the share, hollow where the residual is too large."""
    size = 360
    half = max(1.12, 1.1 * float(np.abs(eigenvalues).max(initial=0.0)))
    unit = (size - 40) / (2.0 * half)
    middle = size / 2

    def dot(value: complex, share: float, residual: float) -> Markup:
        weak = " weak" if not residual <= most_residual else ""
        words = f"{abs(value):.4f}, share {share:.0%}, residual {residual:.2g}"
        return element(
            "g",
            element("title", words),
            element(
                "circle",
                cx=_px(middle + unit * value.real),
                cy=_px(middle - unit * value.imag),
                r=_px(3.0 + 14.0 * math.sqrt(max(0.0, share))),
                class_=f"dot{weak}",
            ),
        )

    parts: list[object] = [
        element("circle", cx=middle, cy=middle, r=_px(unit), class_="axis"),
        element("line", x1=0, x2=size, y1=middle, y2=middle, class_="axis"),
        element("line", x1=middle, x2=middle, y1=0, y2=size, class_="axis"),
        _text("1", middle + unit + 5, middle - 5, class_="faint"),
    ]
    order = np.argsort(-shares)
    parts += [dot(complex(eigenvalues[j]), float(shares[j]), float(residuals[j])) for j in order]
    return _picture(title, size, parts, size)


def _picture(title: str, height: int, parts: Sequence[object], width: int = WIDTH) -> Markup:
    return element(
        "svg",
        element("title", title),
        parts,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
    )


def _text(words: str, x: float, y: float, anchor: str | None = None, **more: str) -> Markup:
    return element("text", words, x=_px(x), y=_px(y), text_anchor=anchor, **more)


def _px(length: float) -> str:
    return f"{length:.1f}".removesuffix(".0")


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return a polyline as path data; a point that is not finite starts a new piece."""
    pieces, pen = [], "M"
    for x, y in points:
        if not math.isfinite(y):
            pen = "M"
            continue
        pieces.append(f"{pen}{_px(x)} {_px(y)}")
        pen = "L"
    return "".join(pieces)


def _thinned(values: Float64) -> list[tuple[int, float]]:
    """Return (index, value), keeping the lowest and the highest of each stretch."""
    if len(values) <= _MOST_POINTS:
        return list(enumerate(values.tolist()))
    kept: list[int] = []
    for part in np.array_split(np.arange(len(values)), _MOST_POINTS // 2):
        inside = values[part]
        if np.isfinite(inside).any():
            ends = {int(part[np.nanargmin(inside)]), int(part[np.nanargmax(inside)])}
            kept += sorted(ends)
        else:
            kept.append(int(part[0]))
    return [(i, float(values[i])) for i in kept]


def _ticks(bottom: float, top: float) -> list[float]:
    """Return about four round values between two."""
    raw = (top - bottom) / 4.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1.0, 2.0, 2.5, 5.0, 10.0) if power * k >= raw)
    first = math.ceil(bottom / step - 1e-9)
    last = math.floor(top / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _marks(marks: Sequence[Mark], across: Callable[[float], float], height: int) -> list[Markup]:
    parts = []
    for k, mark in enumerate(sorted(marks, key=lambda each: each.step)):
        x = across(mark.step)
        low = _TOP + 12 * (k % 3)
        parts.append(
            element("line", x1=_px(x), x2=_px(x), y1=low, y2=height - _BOTTOM, class_="mark")
        )
        right = x > WIDTH - 140
        parts.append(
            _text(mark.words, x + (-4 if right else 4), low + 10, anchor="end" if right else None)
        )
    return parts


def _legend(names: Sequence[str]) -> list[Markup]:
    parts: list[Markup] = []
    x = float(_LEFT)
    for k, name in enumerate(names):
        parts.append(element("path", d=f"M{_px(x)} 12h24", class_=f"series s{k % 3}"))
        parts.append(_text(name, x + 30, 16))
        x += 44 + 7.2 * len(name)
    return parts


def _runs(wanted: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, stop) of every stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
