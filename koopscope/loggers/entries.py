"""What is logged of a run, whoever keeps it: numbers, a table, sentences, pictures and reports."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from os import PathLike, fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope import messages
from koopscope.diagnostics.diagnosis import Diagnosis, analyze
from koopscope.diagnostics.finding import Finding
from koopscope.errors import KoopscopeError
from koopscope.inert import inert
from koopscope.report.analysis_report import Report
from koopscope.report.pictures import PICTURES, draw
from koopscope.report.registry import render
from koopscope.report.text.terminal_style import Page

#: A status as a number, so that a curve of it rises when something goes wrong. A finding that
#: cannot tell has no point.
SEVERITY = {"pass": 0.0, "info": 0.0, "warn": 1.0, "fail": 2.0}

#: Of the network's spectrum, the eigenvalues of the largest amplitudes.
_MOST_EIGENVALUES = 5

#: Columns of the table of findings.
HEADS = ("code", "finding", "status", "what was seen", "do")

#: All names begin with it, so that trackers show them apart from the training's own.
PREFIX = "koopscope"


@dataclass(frozen=True)
class Entries:
    """What is logged of one run at one step.

    Attributes
    ----------
    step
        Of the optimizer: the last one that was analysed, or the one the caller gave.
    numbers
        Finite numbers by name: ``koopscope/convergence``, ``koopscope/status/convergence``,
        ``koopscope/eigenvalue_1``.
    rows
        One per finding, under ``HEADS``.
    advice
        What to do next, in a line.
    pictures
        By name, ``koopscope/pictures/eigenvalues``, as arrays [rows, columns, 3] of bytes.
    reports
        Files by name: ``report.json`` and ``report.html``.
    """

    step: int
    numbers: Mapping[str, float]
    rows: tuple[tuple[str, ...], ...]
    advice: str
    pictures: Mapping[str, npt.NDArray[np.uint8]]
    reports: Mapping[str, str]

    @property
    def markdown(self) -> str:
        """The advice and the table of findings, for trackers that show Markdown."""
        lines = [
            f"**{_escaped(self.advice)}**",
            "",
            f"| {' | '.join(HEADS)} |",
            f"|{' --- |' * len(HEADS)}",
        ]
        lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in self.rows]
        return "\n".join(lines)


def entries_of(
    diagnosis: Diagnosis | str | PathLike[str], step: int | None, with_pictures: bool
) -> Entries:
    """Return what is logged of a run.

    Parameters
    ----------
    diagnosis
        What ``koopscope.analyze`` returned, or a run to analyze.
    step
        The optimizer step to log at; the last one that was analysed where it is ``None``.
    with_pictures
        Whether to draw the pictures; all of them take about two seconds.

    Raises
    ------
    KoopscopeError
        If the run cannot be read.
    """
    if not isinstance(diagnosis, Diagnosis):
        diagnosis = analyze(fspath(diagnosis))
    report = Report((diagnosis,))
    return Entries(
        step=_last_step(diagnosis) if step is None else int(step),
        numbers=dict(_numbers(diagnosis)),
        rows=tuple(_row(finding) for finding in diagnosis.findings),
        advice=inert(diagnosis.next.line or "nothing to do"),
        pictures=_pictures(diagnosis) if with_pictures else {},
        reports={
            "report.json": render("analysis", report, "json", Page()),
            "report.html": render("analysis", report, "html", Page()),
        },
    )


def _last_step(diagnosis: Diagnosis) -> int:
    analysis = diagnosis.analysis
    return int(analysis.description.steps[analysis.window.stop - 1])


def _numbers(diagnosis: Diagnosis) -> Iterator[tuple[str, float]]:
    for finding in diagnosis.findings:
        if finding.value is not None and math.isfinite(finding.value):
            yield f"{PREFIX}/{finding.id}", float(finding.value)
        if finding.status in SEVERITY:
            yield f"{PREFIX}/status/{finding.id}", SEVERITY[finding.status]
    spectrum = diagnosis.summary.asked
    if spectrum is None:
        return
    for place, value in enumerate(spectrum.eigenvalues[:_MOST_EIGENVALUES], start=1):
        if np.isfinite(value):
            yield f"{PREFIX}/eigenvalue_{place}", float(abs(value))


def _row(finding: Finding) -> tuple[str, ...]:
    do = finding.action.line or finding.hint or ""
    cells = (finding.code, finding.id, finding.status, finding.message, do)
    return tuple(inert(cell) for cell in cells)


def _pictures(diagnosis: Diagnosis) -> dict[str, npt.NDArray[np.uint8]]:
    from matplotlib.image import imread

    drawn = {}
    for name in PICTURES:
        image = imread(io.BytesIO(draw(name, diagnosis, "png")))
        drawn[f"{PREFIX}/pictures/{name}"] = (255.0 * image[..., :3]).round().astype(np.uint8)
    return drawn


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one cell of a table."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"&#{ord(sign)};")
    return text


def tracker(name: str, extra: str) -> Any:
    """Import a tracker's package.

    Raises
    ------
    KoopscopeError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise KoopscopeError(
            f"{name} is not installed, or cannot be imported: {error}",
            f"pip install 'koopscope[{extra}]'",
        ) from error


@contextmanager
def no_harm(place: str) -> Iterator[None]:
    """Turn what goes wrong while a tracker takes the entries into a warning."""
    try:
        yield
    except Exception as error:  # a report is not worth a training run
        messages.warn(f"{place} did not take all of koopscope's report: {error!r}")
