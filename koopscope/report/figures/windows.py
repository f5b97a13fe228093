"""How eigenvalue magnitudes change in the course of the run: one spectrum per sliding window."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import usable
from koopscope.report.figures.eigenvalues import OBSERVABLES
from koopscope.report.figures.style import (
    INK,
    area_of_share,
    entitle,
    new_figure,
    nothing_to_show,
    residual_bar,
    residual_colors,
    run_name,
    thousands,
)
from koopscope.spectra.gram import Observable

#: Snapshots of a window: a quarter of the run within these bounds.
SHORTEST, LONGEST = 6, 40

#: Windows drawn at most; more would lie on top of each other.
MOST_WINDOWS = 120

#: Magnitudes above are drawn at the upper edge.
CEILING = 1.5


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: one column of points per window; area is share, colour is residual."""
    analysis = diagnosis.analysis
    picture = new_figure(4.2)
    grid = picture.subplots(2, 1, sharex=True)
    width = min(
        max(SHORTEST + analysis.settings.delay - 1, analysis.window.snapshots // 4), LONGEST
    )
    for axes, observable in zip(grid, OBSERVABLES, strict=True):
        axes.set_title(observable.capitalize())
        axes.set_ylabel("|λ| per snapshot")
        axes.set_xlabel("optimizer step at the window's end")
        if analysis.window.snapshots <= width:
            why = f"{usable(analysis.window.snapshots)} too few for sliding windows"
            nothing_to_show(axes, why)
        elif not analysis.spectrum(observable=observable).rank:
            nothing_to_show(axes, "nothing moved")
        else:
            _points(axes, analysis, observable, width)
    grid[0].tick_params(labelbottom=True)
    residual_bar(picture, grid.tolist())
    entitle(
        picture, f"Eigenvalue magnitudes along {run_name(analysis)}, area: share of the amplitude"
    )
    return picture


def _points(axes: Axes, analysis: Analysis, observable: Observable, width: int) -> None:
    steps = analysis.description.steps[analysis.window.first : analysis.window.stop]
    last = analysis.window.snapshots - width
    starts = np.unique(np.linspace(0, last, min(last + 1, MOST_WINDOWS)).astype(int))
    highest = 1.0
    for start in starts:
        spectrum = analysis.spectrum(observable=observable, part=(int(start), int(start) + width))
        if not spectrum.rank:
            continue
        end = int(steps[start + width - 1])
        axes.scatter(
            np.full(spectrum.rank, end),
            np.minimum(spectrum.magnitudes, CEILING),
            s=[area_of_share(share) / 5.0 for share in spectrum.shares],
            c=residual_colors(spectrum.residuals),
            edgecolors=INK,
            linewidths=0.3,
            zorder=3,
        )
        highest = max(highest, float(spectrum.magnitudes.max()))
    axes.axhline(1.0, color=INK, linewidth=0.9, linestyle="--", zorder=1)
    axes.set_ylim(0.0, 1.08 * min(highest, CEILING))
    thousands(axes.xaxis)
    beyond = f", beyond {CEILING} at the edge" if highest > CEILING else ""
    axes.set_title(f"{observable.capitalize()}: windows of {width} snapshots{beyond}")
