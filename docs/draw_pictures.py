"""Draw the pictures of README.md and the guide: ``python docs/draw_pictures.py``.

They show the sample runs. With names (``python docs/draw_pictures.py summary sweep``), only these.
They are SVG, so that they stay small and their words can be read by a program; a test reads them.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics import contraction
from koopscope.diagnostics.sweep import sweep_of
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.report.analysis_report import Report
from koopscope.report.contraction import ContractionReport
from koopscope.report.figures import (
    comparison,
    forecast,
    pruning,
    scales,
    sweep,
)
from koopscope.report.figures import contraction as contraction_figure
from koopscope.report.figures.style import styled, to_bytes
from koopscope.report.pictures import drawn
from koopscope.report.pruning import PruningReport
from koopscope.report.scales import ScalesReport
from koopscope.runs.arrays.signal import read_signal
from koopscope.spectra.scales import scales_of

HERE = Path(__file__).parent
PICTURES = HERE / "pictures"
RUNS = HERE.parent / "sample_runs"

#: Weights of the picture of a pruning.
_SAMPLED = 2000


def _of_run(name: str, run: str) -> Figure:
    return drawn(name, koopscope.analyze(RUNS / f"{run}.h5"))


def _sweep() -> Figure:
    names = ("rate_too_low", "mlp_sgd", "plateau", "lr_too_high")
    found = tuple(koopscope.analyze(RUNS / f"{name}.h5") for name in names)
    return sweep.figure(Report(found, sweep=sweep_of(found)))


def _comparison() -> Figure:
    return comparison.distances(koopscope.compare(RUNS / "mlp_sgd.h5", RUNS / "lr_too_high.h5"))


def _forecast() -> Figure:
    return forecast.figure(koopscope.forecast(RUNS / "mlp_sgd.h5", ahead=10).forecast)


def _pruning() -> Figure:
    settings = PruningSettings()
    requests = [MaskRequest(sparsity) for sparsity in (0.9, 0.5)]
    with koopscope.open_run(RUNS / "mlp_sgd.h5") as run:
        basis = pruning_basis(run, settings)
        with Pruner(run, basis, settings) as pruner:
            prunings = tuple(pruner.prune(request) for request in requests)
            sample = pruner.sample(requests[-1], _SAMPLED)
    return pruning.figure(PruningReport(basis, settings, prunings), sample)


def _contraction() -> Figure:
    with koopscope.open_run(RUNS / "iterates" / "karate_club.h5") as run:
        analysis = Analysis.of(run)
    found = contraction.contraction_of(analysis, (1e-3, 1e-6))
    return contraction_figure.figure(ContractionReport(analysis, found, ()))


def _depth() -> Figure:
    """Draw a signal of three frequencies, each ten times weaker in scale than the one before."""
    x = np.linspace(0.0, 10.0, 2001)
    parts = ((1.0, 0.5), (0.4, 3.0), (0.2, 20.0))
    y = sum(size * np.sin(2.0 * np.pi * frequency * x) for size, frequency in parts)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "signal.csv"
        with place.open("w", newline="") as file:
            csv.writer(file).writerows(zip(x, y, strict=True))
        signal = read_signal(str(place))
    found = [scales_of(signal.values, signal.spacing, method) for method in ("fft", "dmd")]
    return scales.figure(ScalesReport(signal, found))


DRAWN: Mapping[str, Callable[[], Figure]] = {
    "summary": lambda: _of_run("summary", "past_convergence"),
    "overfitting": lambda: _of_run("summary", "overfitting"),
    "layers": lambda: _of_run("layers", "transformer"),
    "eigenvalues": lambda: _of_run("eigenvalues", "mlp_sgd"),
    "sweep": _sweep,
    "comparison": _comparison,
    "forecast": _forecast,
    "pruning": _pruning,
    "contraction": _contraction,
    "depth": _depth,
}


def svg(name: str) -> bytes:
    """Return one picture as an SVG file's bytes."""
    with styled():
        return to_bytes(DRAWN[name](), "svg")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for each in sys.argv[1:] or DRAWN:
        (PICTURES / f"{each}.svg").write_bytes(svg(each))
