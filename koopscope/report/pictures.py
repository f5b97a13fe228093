"""The one list of pictures ``--plots`` draws, and where their files go.

Knows no matplotlib until a picture is drawn. A new picture is one module in ``figures`` with
``figure(diagnosis) -> Figure`` and one line here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from koopscope.inert import inert
from koopscope.report.figure_sizes import USUAL, FigureSize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from koopscope.diagnostics.diagnosis import Diagnosis
    from koopscope.report.analysis_report import Report

#: File name without suffix -> module with ``figure``.
PICTURES = {
    "summary": "koopscope.report.figures.summary",
    "layers": "koopscope.report.figures.layers",
    "eigenvalues": "koopscope.report.figures.eigenvalues",
    "singular_values": "koopscope.report.figures.singular_values",
    "windows": "koopscope.report.figures.windows",
    "convergence": "koopscope.report.figures.convergence",
    "beginning": "koopscope.report.figures.start",
    "motion": "koopscope.report.figures.motion",
}

#: Pictures of several runs, drawn once: of all, with ``figure(report)``, and of those that differ
#: in depth, with ``figure(sweep)``.
SWEEP_PICTURES = ("sweep", "depth_sweep")

PICTURE_FORMATS = ("png", "svg", "pdf")


def picture_paths(
    runs: Sequence[str],
    folder: Path,
    suffix: str,
    a_folder_each: bool,
    names: Iterable[str] = tuple(PICTURES),
) -> list[Mapping[str, Path]]:
    """Return, for each run, the file of each picture."""
    names = tuple(names)
    folders: list[Path] = []
    for run in runs:
        wanted = candidate = folder / _folder_name(run) if a_folder_each else folder
        count = 1
        while candidate in folders:
            count += 1
            candidate = wanted.with_name(f"{wanted.name}-{count}")
        folders.append(candidate)
    return [{name: place / f"{name}.{suffix}" for name in names} for place in folders]


def _folder_name(run: str) -> str:
    """Return a name for a run's own folder: inert, and never the way out of the folder of all."""
    stem = inert(Path(run).stem)
    return "run" if stem in ("", ".", "..") else stem


def sweep_pictures(report: Report) -> tuple[str, ...]:
    """Return which pictures of several runs there are to draw."""
    sweep = report.sweep or {}
    keys = dict(zip(SWEEP_PICTURES, ("ranking", "suggested_depth"), strict=True))
    return tuple(name for name, key in keys.items() if key in sweep)


def draw_sweep(name: str, report: Report, file_format: str, size: FigureSize = USUAL) -> bytes:
    """Return a picture of several runs as the bytes of a file."""
    from koopscope.report.figures import depth_sweep, sweep
    from koopscope.report.figures.style import styled, to_bytes

    with styled(size):
        drawn = sweep.figure(report) if name == "sweep" else depth_sweep.figure(report.sweep or {})
        return to_bytes(drawn, file_format)


def draw(name: str, diagnosis: Diagnosis, file_format: str, size: FigureSize = USUAL) -> bytes:
    """Return one picture as the bytes of a file."""
    from koopscope.report.figures.style import styled, to_bytes

    with styled(size):
        return to_bytes(drawn(name, diagnosis), file_format)


def drawn(name: str, diagnosis: Diagnosis) -> Figure:
    """Return one picture, in the style that is set."""
    figure: Figure = import_module(PICTURES[name]).figure(diagnosis)
    return figure
