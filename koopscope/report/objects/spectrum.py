"""A spectrum as a dictionary, a drawing or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from koopscope.report.analysis_json import eigenvalue_content
from koopscope.report.figures.eigenvalues import draw_spectrum
from koopscope.report.json_values import native
from koopscope.report.objects.axes import drawing_on
from koopscope.report.objects.frames import frame
from koopscope.spectra.dmd import Spectrum

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = (
    "eigenvalue",
    "abs",
    "residual",
    "amplitude",
    "share",
    "half_life_steps",
    "period_steps",
)


def to_dict(spectrum: Spectrum) -> dict[str, Any]:
    """Return what the JSON report says of a spectrum, but for what takes more than a spectrum."""
    content: dict[str, Any] = native(
        {
            "observable": spectrum.observable,
            "rank": spectrum.rank,
            "singular_values": spectrum.singular_values,
            "eigenvalues": [eigenvalue_content(spectrum, j) for j in range(spectrum.rank)],
        }
    )
    return content


def plot(spectrum: Spectrum, ax: Axes | None) -> Axes:
    """Draw the eigenvalues in the unit circle."""
    with drawing_on(ax) as axes:
        draw_spectrum(axes, spectrum)
        return axes


def to_frame(spectrum: Spectrum) -> DataFrame:
    """Return one row for each eigenvalue."""
    columns = (
        spectrum.eigenvalues,
        spectrum.magnitudes,
        spectrum.residuals,
        spectrum.amplitudes,
        spectrum.shares,
        spectrum.half_lives_steps,
        spectrum.periods_steps,
    )
    rows = [dict(zip(_COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]
    return frame(rows, _COLUMNS)
