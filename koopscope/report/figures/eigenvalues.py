"""Eigenvalues in the unit circle, whole and near 1, for both observables.

The lower half of the plane mirrors the upper one and is left out. Intervals are thin bars along the
ray from 0, and only where they are wider than the mark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from koopscope._types import Complex128, Float64
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import usable
from koopscope.report.figures.style import (
    FAINT,
    INK,
    area_of_share,
    entitle,
    is_narrow,
    new_figure,
    nothing_to_show,
    residual_bar,
    residual_colors,
    run_name,
)
from koopscope.report.text.numbers import interval
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable
from koopscope.spectra.uncertainty import Uncertainty

OBSERVABLES: tuple[Observable, ...] = ("increments", "weights")

#: Magnitudes whose half-lives are written near 1.
MARKED_MAGNITUDES = (0.98, 0.95, 0.9, 0.8)

#: Shares of amplitude in the key of sizes.
KEY_SHARES = (0.5, 0.1, 0.01)

#: Eigenvalues with at least this share of the amplitude get a bar for their interval.
BARRED_SHARE = 0.03

#: Eigenvalues with less of the amplitude do not widen a zoomed frame.
_SEEN_SHARE = 0.01

#: Bars below the real axis at most.
_MOST_BELOW = 4

#: Width over height of a zoomed frame, and its least width.
_ASPECT, _LEAST_WIDTH = 1.55, 0.3


@dataclass(frozen=True)
class Frame:
    """The part of the complex plane that is shown: left, right, lower and upper edge."""

    left: float
    right: float
    low: float
    high: float

    def holds(self, values: Complex128) -> npt.NDArray[np.bool_]:
        """Return bool [r], which eigenvalues, or else their conjugates, lie inside."""
        across = (values.real >= self.left) & (values.real <= self.right)
        inside: npt.NDArray[np.bool_] = across & (np.abs(values.imag) <= self.high)
        return inside


#: The neighbourhood of 1 that is shown enlarged.
NEAR_ONE = Frame(0.7, 1.08, -0.04, 0.2)


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: position is lambda, area share of amplitude, colour residual."""
    analysis = diagnosis.analysis
    picture = new_figure(7.6 if is_narrow() else 4.6)
    grid = np.ravel(picture.subplots(4, 1) if is_narrow() else picture.subplots(2, 2))
    for whole, near, observable in zip(grid[::2], grid[1::2], OBSERVABLES, strict=True):
        near.set_title("Near 1, with half-lives in steps")
        if not analysis.has_spectrum:
            for axes in (whole, near):
                draw_frame(axes, whole_circle(None), "per snapshot")
            nothing_to_show(whole, f"{usable(analysis.window.snapshots)} too few")
            whole.set_title(f"{observable.capitalize()}: no spectrum")
            continue
        spectrum = analysis.spectrum(observable=observable)
        known = analysis.confidence(observable=observable).uncertainty
        unit = f"per {interval(spectrum.spacing_steps)}"
        for axes, frame in ((whole, whole_circle(spectrum)), (near, NEAR_ONE)):
            draw_frame(axes, frame, unit)
            draw_eigenvalues(axes, spectrum)
            draw_intervals(axes, spectrum, known)
        _half_lives(near, spectrum)
        if not spectrum.rank:
            nothing_to_show(whole, "nothing moved")
        whole.set_title(f"{observable.capitalize()}: rank {spectrum.rank} of {spectrum.pairs}")
    residual_bar(picture, grid.tolist())
    _size_key(picture)
    entitle(picture, f"Koopman eigenvalues of {run_name(analysis)}")
    return picture


def draw_spectrum(axes: Axes, spectrum: Spectrum, known: Uncertainty | None = None) -> None:
    """Draw a spectrum in the part of the unit circle where its eigenvalues are.

    Parameters
    ----------
    known
        Whose intervals to draw; none without.
    """
    frame = zoomed(spectrum)
    draw_frame(axes, frame, f"{spectrum.observable}, per {interval(spectrum.spacing_steps)}")
    shown = int(np.count_nonzero(frame.holds(spectrum.eigenvalues)))
    some = f"{shown} of {spectrum.rank}" if shown < spectrum.rank else str(shown)
    axes.set_title(f"Spectrum, {some} value{'' if some == '1' else 's'}")
    if not spectrum.rank:
        nothing_to_show(axes, "nothing moved")
        return
    draw_eigenvalues(axes, spectrum)
    if known is not None:
        draw_intervals(axes, spectrum, known)
    whole = axes.figure
    if isinstance(whole, Figure):
        residual_bar(whole, [axes])


def whole_circle(spectrum: Spectrum | None) -> Frame:
    """Return the frame of the upper half of the unit circle, wider where eigenvalues lie out."""
    farthest = float(spectrum.magnitudes.max(initial=0.0)) if spectrum is not None else 0.0
    half = max(1.12, 1.2 * farthest)
    return Frame(-half, half, -0.15 * half, half)


def zoomed(spectrum: Spectrum) -> Frame:
    """Return the frame of what counts of a spectrum, and of 1, in the shape of a panel."""
    seen = spectrum.eigenvalues[spectrum.shares >= _SEEN_SHARE]
    real = np.append(seen.real, 1.0)
    right, left = float(real.max()), float(real.min())
    top = float(np.abs(seen.imag).max(initial=0.0))
    width = max(right - left, _LEAST_WIDTH, _ASPECT * top) * 1.16
    middle = (right + left) / 2.0
    height = width / _ASPECT
    return Frame(middle - width / 2.0, middle + width / 2.0, -0.14 * height, 0.86 * height)


def draw_frame(axes: Axes, frame: Frame, unit: str) -> None:
    """Draw the unit circle and the axes of the plane inside a frame."""
    angles = np.linspace(-0.2, math.pi + 0.2, 500)
    axes.plot(np.cos(angles), np.sin(angles), color=INK, linewidth=0.8, zorder=1)
    axes.axhline(0.0, color=FAINT, linewidth=0.5, zorder=0)
    axes.axvline(0.0, color=FAINT, linewidth=0.5, zorder=0)
    axes.set_aspect("equal")
    axes.set_xlim(frame.left, frame.right)
    axes.set_ylim(frame.low, frame.high)
    axes.set_xlabel(f"Re λ ({unit})")
    axes.set_ylabel("Im λ")
    axes.grid(False)


def draw_eigenvalues(axes: Axes, spectrum: Spectrum) -> None:
    """Draw every eigenvalue, small ones on top of large ones; lower ones of pairs unseen."""
    order = np.argsort(-spectrum.shares)
    values = spectrum.eigenvalues[order]
    is_seen = (values.imag >= 0.0).astype(float)
    faces = residual_colors(spectrum.residuals[order])
    faces[:, 3] = is_seen
    axes.scatter(
        values.real,
        values.imag,
        s=[area_of_share(share) for share in spectrum.shares[order]],
        c=faces,
        edgecolors=[to_rgba(INK, seen) for seen in is_seen],
        linewidths=0.5,
        zorder=3,
    )


def draw_intervals(axes: Axes, spectrum: Spectrum, known: Uncertainty) -> None:
    """Draw the interval of |lambda| as a bar along its ray, where it is wider than the mark.

    Bars of real eigenvalues would lie on each other: they stand one below the other under the axis.
    """
    points = 72.0 * axes.bbox.width / axes.figure.dpi
    left, right = axes.get_xlim()
    below = 0
    for value, share, low, high in zip(
        spectrum.eigenvalues, spectrum.shares, known.magnitude_low, known.magnitude_high,
        strict=True,
    ):  # fmt: skip
        is_known = math.isfinite(high) and value != 0.0 and value.imag >= 0.0
        wide = points * (high - low) / (right - left) > math.sqrt(area_of_share(share))
        if not (is_known and wide and share >= BARRED_SHARE):
            continue
        ends = np.array([low, high]) * value / abs(value)
        down = 0.0
        if value.imag == 0.0:
            below += 1
            if below > _MOST_BELOW:
                continue
            down = axes.get_ylim()[0] * below / (_MOST_BELOW + 1)
            axes.plot(value.real, down, "|", color=INK, markersize=3.0, markeredgewidth=0.7)
        axes.plot(ends.real, ends.imag + down, color=INK, linewidth=0.7, alpha=0.7, zorder=2)


def _half_lives(axes: Axes, spectrum: Spectrum) -> None:
    """Draw circles of equal decay and write the half-life in steps on each."""
    angles = np.linspace(-0.1, 0.5, 60)
    for magnitude in MARKED_MAGNITUDES:
        steps = spectrum.spacing_steps * math.log(2.0) / -math.log(magnitude)
        circle: Complex128 = magnitude * np.exp(1j * angles)
        axes.plot(
            circle.real, circle.imag, color=FAINT, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0
        )
        height = 0.85 * NEAR_ONE.high
        place: Float64 = np.array([math.sqrt(magnitude**2 - height**2), height])
        axes.text(
            float(place[0]),
            float(place[1]),
            f"{steps:,.0f}",
            rotation=90.0 + math.degrees(math.asin(height / magnitude)),
            fontsize=6.0,
            color="#555555",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )


def _size_key(picture: Figure) -> None:
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=math.sqrt(area_of_share(share)),
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=0.6,
            label=f"{share:.0%}",
        )
        for share in KEY_SHARES
    ]
    picture.legend(
        handles=handles,
        title="area: share of the amplitude; bar: 90% interval of |λ|",
        title_fontsize=6.5,
        frameon=False,
        loc="outside lower center",
        ncols=len(handles),
        handleheight=2.6,
        handletextpad=0.9,
        columnspacing=3.0,
    )
