"""Log a run's findings to MLflow."""

from __future__ import annotations

from os import PathLike
from typing import Any

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.loggers.entries import HEADS, PREFIX, Entries, entries_of, no_harm, tracker


def log_to_mlflow(
    diagnosis: Diagnosis | str | PathLike[str],
    run_id: str | None = None,
    *,
    step: int | None = None,
    pictures: bool = True,
) -> None:
    """Log a run's findings, numbers, pictures and reports to MLflow.

    The pictures, the table of findings and the reports are files in the run's artifact folder
    ``koopscope``; the advice is the tag ``koopscope.next``.

    Parameters
    ----------
    diagnosis
        What ``koopscope.analyze`` returned, or a run to analyze.
    run_id
        Of the MLflow run; the active one if not given.
    step
        The optimizer step to log at; the last one that was analysed if not given.
    pictures
        Whether to log the pictures, too.

    Raises
    ------
    KoopscopeError
        If the run cannot be read, mlflow is not installed, or no run of it is active.
    """
    mlflow = tracker("mlflow", "mlflow")
    if run_id is None:
        active = mlflow.active_run()
        if active is None:
            raise KoopscopeError(
                "no MLflow run is active", "call mlflow.start_run() first, or pass the run_id"
            )
        run_id = active.info.run_id
    entries = entries_of(diagnosis, step, pictures)
    with no_harm("MLflow"):
        _write(mlflow, run_id, entries)


def _write(mlflow: Any, run_id: str, entries: Entries) -> None:
    client = mlflow.MlflowClient()
    for name, value in entries.numbers.items():
        client.log_metric(run_id, name, value, step=entries.step)
    client.set_tag(run_id, f"{PREFIX}.next", entries.advice)
    client.log_text(run_id, entries.markdown, f"{PREFIX}/findings.md")
    columns = zip(HEADS, zip(*entries.rows, strict=True), strict=True)
    client.log_table(
        run_id, {head: list(cells) for head, cells in columns}, f"{PREFIX}/findings.json"
    )
    for name, image in entries.pictures.items():
        client.log_image(run_id, image, f"{name}.png")
    for name, text in entries.reports.items():
        client.log_text(run_id, text, f"{PREFIX}/{name}")
