"""Eigenvalues on the unit circle, whole and near 1, for both observables."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import usable
from koopscope.report.figures.style import (
    FAINT,
    INK,
    area_of_share,
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

#: Half the side, and the centre, of the neighbourhood of 1 that is shown enlarged.
NEIGHBOURHOOD = 0.2
NEAR = 0.9

#: Magnitudes whose half-lives are written into it.
MARKED_MAGNITUDES = (0.98, 0.95, 0.9, 0.8)

#: Shares of amplitude in the key of sizes.
KEY_SHARES = (0.5, 0.1, 0.01)


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: position is lambda, area share of amplitude, colour residual.

    A dotted ellipse is where 90% of resampled eigenvalues lie; a real one moves along the axis.
    """
    analysis = diagnosis.analysis
    picture = new_figure(7.3)
    grid = picture.subplots(2, 2)
    for (whole, near), observable in zip(grid, OBSERVABLES, strict=True):
        _frame(whole, 1.12, 0.0)
        _frame(near, NEIGHBOURHOOD, NEAR)
        if analysis.has_spectrum:
            spectrum = analysis.spectrum(observable=observable)
            known = analysis.confidence(observable=observable).uncertainty
            unit = f"per {interval(spectrum.spacing_steps)}"
            for axes in (whole, near):
                _ellipses(axes, spectrum, known)
                _eigenvalues(axes, spectrum)
            _half_lives(near, spectrum)
            _stretch(whole, spectrum)
            count = f"rank {spectrum.rank} of {spectrum.pairs}"
            if not spectrum.rank:
                nothing_to_show(whole, "nothing moved")
        else:
            unit, count = "per snapshot", "no spectrum"
            nothing_to_show(whole, f"{usable(analysis.window.snapshots)} too few")
        whole.set_title(f"{observable.capitalize()}: {count}")
        near.set_title("Near 1, with half-lives in steps")
        for axes in (whole, near):
            axes.set_xlabel(f"Re λ ({unit})")
            axes.set_ylabel(f"Im λ ({unit})")
    residual_bar(picture, grid.ravel().tolist())
    _size_key(picture)
    picture.suptitle(f"Koopman eigenvalues of {run_name(analysis)}", fontsize=10)
    return picture


def _frame(axes: Axes, half: float, center: float) -> None:
    angles = np.linspace(0.0, 2.0 * math.pi, 2000)
    axes.plot(np.cos(angles), np.sin(angles), color=INK, linewidth=0.8, zorder=1)
    axes.axhline(0.0, color=FAINT, linewidth=0.5, zorder=0)
    axes.axvline(0.0, color=FAINT, linewidth=0.5, zorder=0)
    axes.set_aspect("equal")
    axes.set_xlim(center - half, center + half)
    axes.set_ylim(-half, half)
    axes.grid(False)


def _eigenvalues(axes: Axes, spectrum: Spectrum) -> None:
    order = np.argsort(-spectrum.shares)  # small ones on top of large ones
    axes.scatter(
        spectrum.eigenvalues.real[order],
        spectrum.eigenvalues.imag[order],
        s=[area_of_share(share) for share in spectrum.shares[order]],
        c=residual_colors(spectrum.residuals[order]),
        edgecolors=INK,
        linewidths=0.6,
        alpha=0.9,
        zorder=3,
    )


def _ellipses(axes: Axes, spectrum: Spectrum, known: Uncertainty) -> None:
    """Draw the region that holds each eigenvalue with the intervals' probability."""
    factor = math.sqrt(-2.0 * math.log(1.0 - known.level))
    for value, covariance in zip(spectrum.eigenvalues, known.covariance, strict=True):
        if not np.isfinite(covariance).all():
            continue
        squares, directions = np.linalg.eigh(covariance)
        width, height = 2.0 * factor * np.sqrt(np.maximum(squares[::-1], 0.0))
        axes.add_patch(
            Ellipse(
                (value.real, value.imag),
                width,
                height,
                angle=math.degrees(math.atan2(directions[1, 1], directions[0, 1])),
                facecolor="none",
                edgecolor=INK,
                linewidth=0.5,
                linestyle=(0, (1, 1.5)),
                zorder=2,
            )
        )


def _stretch(axes: Axes, spectrum: Spectrum) -> None:
    """Widen the frame where an eigenvalue lies outside it."""
    if spectrum.rank:
        half = max(1.12, 1.2 * float(spectrum.magnitudes.max()))
        axes.set_xlim(-half, half)
        axes.set_ylim(-half, half)


def _half_lives(axes: Axes, spectrum: Spectrum) -> None:
    """Draw circles of equal decay and write the half-life in steps on each."""
    angles = np.linspace(-0.5, 0.5, 400)
    height = -0.8 * NEIGHBOURHOOD
    for magnitude in MARKED_MAGNITUDES:
        steps = spectrum.spacing_steps * math.log(2.0) / -math.log(magnitude)
        axes.plot(
            magnitude * np.cos(angles),
            magnitude * np.sin(angles),
            color=FAINT,
            linewidth=0.6,
            linestyle=(0, (4, 3)),
            zorder=0,
        )
        axes.text(
            math.sqrt(magnitude**2 - height**2),
            height,
            f"{steps:,.0f}",
            rotation=90.0 + math.degrees(math.asin(height / magnitude)),
            fontsize=6.5,
            color="#555555",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
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
        title="share of amplitude; dotted: 90% region",
        title_fontsize=7.5,
        loc="outside lower center",
        ncols=len(handles),
        handletextpad=0.9,
        columnspacing=3.0,
    )
