"""Metrics from the CSV file that a training program logged next to its checkpoints."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.series import conventional, metrics_at
from koopscope.runs.checkpoints.snapshot import Unit

_STEP_COLUMNS = ("step", "global_step", "iteration")


def metrics_from_csv(
    path: Path, steps: Sequence[int], unit: Unit
) -> dict[str, npt.NDArray[np.float64]]:
    """Return every column of numbers as one value per snapshot, NaN where none was logged.

    With a ``step`` column, a snapshot gets the last values since the snapshot before (Lightning's
    logger, which writes ``epoch`` and ``step``, counts steps from 0: understood). Without one,
    the file needs a row per snapshot, or an ``epoch`` column and snapshots that count epochs
    (Keras' logger counts them from 0, its file names from 1; both are understood).

    Parameters
    ----------
    path
        With a header line, as CSVLogger of Keras and of Lightning write it.
    steps, unit
        Of the snapshots.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or its rows cannot be told to belong to the snapshots.
    """
    rows = _rows(path)
    for column in _STEP_COLUMNS:
        if any(column in row for row in rows):
            # Lightning's logger, known by having both columns, numbers its steps from 0.
            shift = 1 if any("epoch" in row for row in rows) else 0
            log = [
                {"step": row[column] + shift} | _without(row, column, "epoch")
                for row in rows
                if column in row
            ]
            return metrics_at(steps, log)
    if len(rows) == len(steps):
        return metrics_at(steps, [{"step": s} | r for s, r in zip(steps, rows, strict=True)])
    epochs = [row["epoch"] for row in rows if "epoch" in row]
    if unit == "epoch" and epochs:
        shift = 1 if min(epochs) == 0 and steps[0] > 0 else 0
        log = [{"step": r["epoch"] + shift} | _without(r, "epoch") for r in rows if "epoch" in r]
        return metrics_at(steps, log)
    raise KoopscopeError(
        f"{path} has {len(rows)} rows and no column `step`, for {len(steps)} snapshots",
        "add a column `step`, or keep one row per snapshot",
    )


def _rows(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = [_numbers(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise KoopscopeError(
            f"{path} cannot be read as CSV: {error}", "give a text file with a header line"
        ) from None
    rows = [row for row in found if row]
    if not rows:
        raise KoopscopeError(f"{path} holds no numbers", "give a CSV file with a header line")
    return rows


def _numbers(row: dict[str | None, object]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        try:
            value = float(text) if isinstance(text, str) else math.nan
        except ValueError:
            continue
        if name is not None and math.isfinite(value):
            numbers[conventional(name)] = value
    return numbers


def _without(row: dict[str, float], *columns: str) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in columns}
