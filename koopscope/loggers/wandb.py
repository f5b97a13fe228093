"""Log a run's findings to Weights & Biases."""

from __future__ import annotations

from os import PathLike
from typing import Any

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.loggers.entries import HEADS, PREFIX, Entries, entries_of, no_harm, tracker


def log_to_wandb(
    diagnosis: Diagnosis | str | PathLike[str],
    run: Any = None,
    *,
    step: int | None = None,
    pictures: bool = True,
) -> None:
    """Log a run's findings, numbers, pictures and reports to Weights & Biases.

    Curves are drawn over ``koopscope/step``, because W&B takes no point that lies before the
    training's own last one. The reports become an artifact of the type ``koopscope-report``.

    Parameters
    ----------
    diagnosis
        What ``koopscope.analyze`` returned, or a run to analyze.
    run
        The W&B run; the one that ``wandb.init()`` began last if not given.
    step
        The optimizer step to log at; the last one that was analysed if not given.
    pictures
        Whether to log the pictures, too.

    Raises
    ------
    KoopscopeError
        If the run cannot be read, wandb is not installed, or no run of it is active.
    """
    wandb = tracker("wandb", "wandb")
    run = wandb.run if run is None else run
    if run is None:
        raise KoopscopeError("no W&B run is active", "call wandb.init() first, or pass the run")
    entries = entries_of(diagnosis, step, pictures)
    with no_harm("W&B"):
        _write(wandb, run, entries)


def _write(wandb: Any, run: Any, entries: Entries) -> None:
    run.define_metric(f"{PREFIX}/step", hidden=True)
    run.define_metric(f"{PREFIX}/*", step_metric=f"{PREFIX}/step")
    images = {name: wandb.Image(image) for name, image in entries.pictures.items()}
    table = wandb.Table(columns=list(HEADS), data=[list(row) for row in entries.rows])
    run.log(
        {
            f"{PREFIX}/step": entries.step,
            **entries.numbers,
            **images,
            f"{PREFIX}/findings": table,
            f"{PREFIX}/report": _page(wandb, entries),
        }
    )
    run.summary[f"{PREFIX}/next"] = entries.advice
    artifact = wandb.Artifact(f"{PREFIX}-{run.id}", type=f"{PREFIX}-report")
    for name, text in entries.reports.items():
        with artifact.new_file(name, encoding="utf-8") as file:
            file.write(text)
    run.log_artifact(artifact)


def _page(wandb: Any, entries: Entries) -> Any:
    return wandb.Html(entries.reports["report.html"], inject=False, data_is_not_path=True)
