"""Singular values of both observables, and where the spectrum cuts them."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import usable
from koopscope.report.figures.eigenvalues import OBSERVABLES
from koopscope.report.figures.style import (
    COLORS,
    FAINT,
    INK,
    entitle,
    nothing_to_show,
    panels,
    plain_decades,
    run_name,
)
from koopscope.spectra.dmd import Spectrum


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: kept values are full circles, those beyond the cut are open."""
    analysis = diagnosis.analysis
    picture, grid = panels(len(OBSERVABLES), 2.0)
    for axes, observable in zip(grid, OBSERVABLES, strict=True):
        axes.set_xlabel("index")
        axes.set_ylabel("singular value")
        axes.set_title(observable.capitalize())
        if not analysis.has_spectrum:
            nothing_to_show(axes, f"{usable(analysis.window.snapshots)} too few")
            continue
        spectrum = analysis.spectrum(observable=observable)
        if spectrum.rank == 0:
            nothing_to_show(axes, "nothing moved")
            continue
        _values(axes, spectrum)
        axes.set_title(f"{observable.capitalize()}: rank {spectrum.rank} of {spectrum.pairs}")
    entitle(picture, f"Singular values of {run_name(analysis)}, columns scaled to unit norm")
    return picture


def _values(axes: Axes, spectrum: Spectrum) -> None:
    values = spectrum.singular_values
    index = np.arange(1, len(values) + 1)
    shown = values > 0.0
    kept = index <= spectrum.rank
    axes.semilogy(index[shown], values[shown], color=FAINT, linewidth=0.7, zorder=1)
    for part, face, name in ((kept, COLORS[0], "kept"), (~kept, "white", "cut")):
        axes.semilogy(
            index[shown & part],
            values[shown & part],
            linestyle="none",
            marker="o",
            markerfacecolor=face,
            markeredgecolor=COLORS[0],
            markeredgewidth=0.8,
            label=name,
        )
    axes.axvline(spectrum.rank + 0.5, color=INK, linewidth=0.9, linestyle="--")
    plain_decades(axes.yaxis, *axes.get_ylim())
    axes.legend(loc="upper right")
