"""Metrics from the file that a training program logged next to its checkpoints.

CSV (Keras, Lightning), JSON lines, JSON (``trainer_state.json``, ``results.json``), the event files
of TensorBoard and the folders of MLflow, W&B and others (``metrics_folders``) become rows of
numbers, and rows are matched with snapshots by their step.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.event_files import scalars_of
from koopscope.runs.checkpoints.metrics_folders import (
    is_mlflow_metric,
    log_in,
    mlflow_rows,
    refuse_wandb,
)
from koopscope.runs.checkpoints.series import metrics_at
from koopscope.runs.names import Unit, conventional

#: What numbers a row, best first. A logger's own count of its calls, ``_step``, comes last.
_STEP_COLUMNS = ("step", "global_step", "iteration", "iter", "training_iteration", "_step")

#: The largest JSON file that is looked at.
_JSON_LIMIT = 256 * 2**20

Rows = list[dict[str, float]]


@dataclass(frozen=True)
class LoggedMetrics:
    """Values per snapshot, float64 [T] each, NaN where none was logged, and what did not match."""

    columns: dict[str, npt.NDArray[np.float64]]
    unmatched: tuple[str, ...] = ()


def metrics_from(path: Path, steps: Sequence[int], unit: Unit) -> LoggedMetrics:
    """Return every column of numbers as one value per snapshot, NaN where none was logged.

    With steps, a snapshot gets the last values since the snapshot before (Lightning's logger, which
    writes ``epoch`` and ``step`` to a CSV file, counts steps from 0: understood). Without them, the
    file needs a row per snapshot, or epochs and snapshots that count epochs (Keras' logger counts
    them from 0, its file names from 1; both are understood).

    Parameters
    ----------
    path
        CSV with a header line, JSON lines, JSON, or an event file, told by its name; or a folder
        with one of them, or of MLflow.
    steps, unit
        Of the snapshots.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or its rows cannot be told to belong to the snapshots.
    """
    read, kind = _reader(path)
    try:
        rows = [row for row in read(path) if row]
    except (OSError, ValueError, OverflowError, RecursionError, csv.Error) as error:
        raise KoopscopeError(
            f"{path} cannot be read as {kind}: {error}",
            "give a text file with a header line, JSON lines, or an event file of TensorBoard",
        ) from None
    if not rows:
        raise KoopscopeError(f"{path} holds no numbers", "give a file of logged metrics")
    log = _numbered(path, rows, steps, unit, kind)
    columns = metrics_at(steps, log)
    return LoggedMetrics(columns, _unmatched(path, log, steps, columns))


def _reader(path: Path) -> tuple[Callable[[Path], Rows], str]:
    if path.is_dir():
        path = log_in(path)
        if path.is_dir():
            return lambda _: mlflow_rows(path), "a folder of MLflow"
        read, kind = _reader(path)
        return lambda _: read(path), kind
    name = path.name.lower()
    if name.endswith(".wandb"):
        refuse_wandb(path)
    if is_mlflow_metric(path):
        return lambda _: mlflow_rows(path), "a metric of MLflow"
    if ".tfevents." in name:
        return _event_rows, "an event file"
    if name.endswith((".jsonl", ".ndjson")):
        return _json_lines, "JSON lines"
    if name == "result.json":  # Ray Tune's, a line an iteration
        return _json_lines, "JSON lines"
    if name.endswith(".json"):
        return _json_rows, "JSON"
    return _csv_rows, "CSV"


def _numbered(path: Path, rows: Rows, steps: Sequence[int], unit: Unit, kind: str) -> Rows:
    """Return the rows with a ``step`` that counts as the snapshots' steps do."""
    for column in _STEP_COLUMNS:
        if unit == "step" and any(column in row for row in rows):
            # Lightning's CSV logger, known by having both columns, numbers its steps from 0.
            shift = 1 if kind == "CSV" and any("epoch" in row for row in rows) else 0
            return [
                {"step": row[column] + shift} | _without(row, *_STEP_COLUMNS, "epoch")
                for row in rows
                if column in row
            ]
    epochs = [row["epoch"] for row in rows if "epoch" in row]
    if unit == "epoch" and epochs and len(rows) != len(steps):
        shift = 1 if min(epochs) == 0 and steps[0] > 0 else 0
        return [{"step": r["epoch"] + shift} | _without(r, "epoch") for r in rows if "epoch" in r]
    if len(rows) == len(steps):
        return [{"step": s} | _without(r, "step") for s, r in zip(steps, rows, strict=True)]
    for column in _STEP_COLUMNS:
        if any(column in row for row in rows):
            return [{"step": row[column]} | _without(row, column) for row in rows if column in row]
    raise KoopscopeError(
        f"{path} has {len(rows)} rows and no column `step`, for {len(steps)} snapshots",
        "add a column `step`, or keep one row per snapshot",
    )


def _unmatched(
    path: Path,
    log: Rows,
    steps: Sequence[int],
    columns: Mapping[str, npt.NDArray[np.float64]],
) -> tuple[str, ...]:
    said = []
    late = sum(entry["step"] > steps[-1] for entry in log)
    if late:
        said.append(f"{late} of {len(log)} entries of {path} come after the last snapshot")
    given = np.zeros(len(steps), bool)
    for values in columns.values():
        given |= np.isfinite(values)
    if not given.all():
        said.append(f"{int((~given).sum())} of {len(steps)} snapshots have no entry in {path}")
    return tuple(said)


def _csv_rows(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [_parsed(row) for row in csv.DictReader(file)]


def _json_lines(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig") as file:
        return [numbers_of(json.loads(line)) for line in file if line.strip()]


def _json_rows(path: Path) -> Rows:
    """Read a list of objects, one object of lists, or objects by their step."""
    with path.open("rb") as file:
        content = json.loads(file.read(_JSON_LIMIT))
    if isinstance(content, Mapping) and isinstance(content.get("log_history"), list):
        entries = [entry for entry in content["log_history"] if isinstance(entry, Mapping)]
        content = [entry for entry in entries if "train_runtime" not in entry]  # the summary
    if isinstance(content, Mapping):
        lists = {name: value for name, value in content.items() if isinstance(value, list)}
        lengths = {len(value) for value in lists.values()}
        if lists and len(lengths) == 1:
            content = [
                dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
            ]
        elif content and all(isinstance(v, Mapping) and k.isdecimal() for k, v in content.items()):
            content = [{"step": int(step), **values} for step, values in content.items()]
        else:
            content = [content]
    return [numbers_of(row) for row in content if isinstance(row, Mapping)]


def _event_rows(path: Path) -> Rows:
    return [
        {"step": float(step), conventional(tag): value} for step, tag, value in scalars_of(path)
    ]


def numbers_of(row: Any, prefix: str = "") -> dict[str, float]:
    """Return the finite numbers of an object, those of nested objects as ``train/loss``."""
    numbers: dict[str, float] = {}
    for name, value in row.items() if isinstance(row, Mapping) else ():
        if isinstance(value, Mapping):
            numbers |= numbers_of(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value):
            numbers[conventional(f"{prefix}{name}")] = float(value)
    return numbers


def _parsed(row: Mapping[str | None, object]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        try:
            value = float(text) if isinstance(text, str) else math.nan
        except ValueError:
            continue
        if name is not None and math.isfinite(value):
            numbers[conventional(name)] = value
    return numbers


def _without(row: Mapping[str, float], *columns: str) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in columns}
