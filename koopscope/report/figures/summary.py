"""One run in four panels: its losses, its layers, its spectrum, and what is still to come."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.diagnostics.diagnosis import Diagnosis, Panel
from koopscope.diagnostics.finding import usable
from koopscope.report.figures.convergence import draw_ahead
from koopscope.report.figures.eigenvalues import draw_spectrum
from koopscope.report.figures.layers import draw_speeds, layer_motions
from koopscope.report.figures.losses import draw_losses
from koopscope.report.figures.style import (
    entitle,
    is_narrow,
    nothing_to_show,
    panels,
    run_name,
)

#: Layers of the panel at most.
_MOST_LAYERS = 12

#: Height of a panel in inches, beside another one and below another one.
_HEIGHT, _NARROW_HEIGHT = 1.95, 1.7


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture, with a letter on each panel for the text that refers to it."""
    picture, grid = panels(len(PANELS), _NARROW_HEIGHT if is_narrow() else _HEIGHT)
    for axes, (letter, draw) in zip(grid, zip("abcd", PANELS.values(), strict=True), strict=True):
        draw(axes, diagnosis)
        axes.set_title(f"{letter}  {axes.get_title(loc='left')}")
    entitle(picture, f"{run_name(diagnosis.analysis)}: {diagnosis.first_look.state}")
    return picture


def _draw_layers(axes: Axes, diagnosis: Diagnosis) -> None:
    draw_speeds(axes, diagnosis, layer_motions(diagnosis.analysis, _MOST_LAYERS))


def _draw_spectrum(axes: Axes, diagnosis: Diagnosis) -> None:
    analysis = diagnosis.analysis
    if not analysis.has_spectrum:
        axes.set_title("Spectrum")
        axes.set_xlabel("Re λ")
        axes.set_ylabel("Im λ")
        nothing_to_show(axes, f"{usable(analysis.window.snapshots)} too few for a spectrum")
        return
    draw_spectrum(axes, analysis.spectrum(), analysis.confidence().uncertainty)


#: What a panel is called -> what draws it.
PANELS: dict[Panel, Callable[[Axes, Diagnosis], None]] = {
    "loss": draw_losses,
    "layers": _draw_layers,
    "spectrum": _draw_spectrum,
    "ahead": draw_ahead,
}
