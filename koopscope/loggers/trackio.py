"""Log a run's findings to Trackio."""

from __future__ import annotations

from os import PathLike
from typing import Any

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.loggers.entries import HEADS, PREFIX, Entries, entries_of, no_harm, tracker


def log_to_trackio(
    diagnosis: Diagnosis | str | PathLike[str],
    run: Any = None,
    *,
    step: int | None = None,
    pictures: bool = True,
) -> None:
    """Log a run's findings, numbers, pictures and the HTML report to Trackio.

    Parameters
    ----------
    diagnosis
        What ``koopscope.analyze`` returned, or a run to analyze.
    run
        What ``trackio.init()`` returned; the run it began last if not given.
    step
        The optimizer step to log at; the last one that was analysed if not given.
    pictures
        Whether to log the pictures, too.

    Raises
    ------
    KoopscopeError
        If the run cannot be read, trackio is not installed, or no run of it is active.
    """
    trackio = tracker("trackio", "trackio")
    run = trackio.context_vars.current_run.get() if run is None else run
    if run is None:
        raise KoopscopeError(
            "no Trackio run is active", "call trackio.init(project=...) first, or pass the run"
        )
    entries = entries_of(diagnosis, step, pictures)
    with no_harm("Trackio"):
        _write(trackio, run, entries)


def _write(trackio: Any, run: Any, entries: Entries) -> None:
    images = {name: trackio.Image(image) for name, image in entries.pictures.items()}
    table = trackio.Table(columns=list(HEADS), data=[list(row) for row in entries.rows])
    run.log(
        {
            **entries.numbers,
            **images,
            f"{PREFIX}/findings": table,
            f"{PREFIX}/next": trackio.Markdown(entries.markdown),
            f"{PREFIX}/report": trackio.Html(entries.reports["report.html"], inject=False),
        },
        step=entries.step,
    )
