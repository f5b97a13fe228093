"""Folders into which trackers log metrics: MLflow's, W&B's, Lightning's, TensorBoard's.

Finds the one log that a folder stands for. MLflow keeps a file a metric, whose lines are
``timestamp value step`` (https://mlflow.org/docs/latest/tracking.html, file store).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.numbering import natural_key
from koopscope.runs.names import conventional

#: The logs that a folder may hold, best first.
_LOGS = (
    "metrics.csv",
    "wandb-history.jsonl",
    "result.json",
    "trainer_state.json",
    "results.json",
    "progress.csv",
    "training.log",
    "log.csv",
    "metrics.jsonl",
)
_METRICS = "metrics"

_MLFLOW_LINE = re.compile(rb"(\d{1,19}) (\S{1,64})( -?\d{1,18})?\s*")
_MOST_LINES = 10_000_000
_LONGEST_LINE = 4096
_MOST_FILES = 10_000

_WHAT_TO_NAME = "name the file with the metrics: CSV, JSON lines, JSON, or an event file"


def log_in(folder: Path) -> Path:
    """Return the log in a folder: a file, or MLflow's folder ``metrics``.

    Raises
    ------
    KoopscopeError
        If it holds none, or several.
    """
    for place in (folder, folder / "files"):  # W&B's files lie in wandb/run-ID/files
        for name in _LOGS:
            if (place / name).is_file():
                return place / name
    for place in (folder, folder / _METRICS):
        if place.name == _METRICS and place.is_dir():
            return place
    below = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    logs = [path for path in below if ".tfevents." in path.name and path.is_file()]
    if not logs:
        logs = [path for path in below if (path / _METRICS).is_dir() or _versioned(path)]
        logs = [log_in(path) for path in logs] if len(logs) == 1 else logs
    for path in below:
        if path.name.endswith(".wandb"):
            refuse_wandb(path)
    if len(logs) == 1:
        return logs[0]
    if not logs:
        raise KoopscopeError(f"{folder} holds no log of metrics that is known", _WHAT_TO_NAME)
    raise KoopscopeError(
        f"{folder} holds {len(logs)} logs of metrics", f"name one of them, such as {logs[-1]}"
    )


def _versioned(path: Path) -> bool:
    return path.name.startswith("version_") and (path / "metrics.csv").is_file()


def is_mlflow_metric(path: Path) -> bool:
    """Return whether a file is one metric of MLflow: it lies in ``metrics``, its lines say so."""
    if _METRICS not in (parent.name for parent in path.parents) or not path.is_file():
        return False
    with path.open("rb") as file:
        return _MLFLOW_LINE.fullmatch(file.readline(_LONGEST_LINE)) is not None


def mlflow_rows(path: Path) -> list[dict[str, float]]:
    """Return the values of one metric of MLflow, or of all in a folder, as rows with a ``step``.

    Raises
    ------
    ValueError
        If a line is none of MLflow's.
    """
    rows: list[dict[str, float]] = []
    files = [(path.name, path)]
    if path.is_dir():
        files = [(file.relative_to(path).as_posix(), file) for file in _files(path)]
    for name, file in files:
        for step, value in _values(file):
            rows.append({"step": step, conventional(name): value})
    rows.sort(key=lambda row: row["step"])
    return rows


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and those below it: MLflow's names may hold slashes."""
    count = 0
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith(".") or path.is_symlink():
                continue
            count += 1
            if count > _MOST_FILES:
                raise ValueError(f"it holds more than {_MOST_FILES:,} files")
            yield path


def _values(file: Path) -> Iterator[tuple[float, float]]:
    with file.open("rb") as stream:
        for number in range(1, _MOST_LINES):
            line = stream.readline(_LONGEST_LINE)
            if not line:
                return
            match = _MLFLOW_LINE.fullmatch(line)
            if match is None:
                if not line.endswith(b"\n") and not stream.read(1):
                    return  # the last line is still being written
                raise ValueError(f"line {number} of {file.name} is no `timestamp value step`")
            value = float(match[2])
            if math.isfinite(value):
                yield float(match[3] or 0), value


def refuse_wandb(path: Path) -> NoReturn:
    """Say how to get the metrics out of W&B's own binary file.

    Raises
    ------
    KoopscopeError
        Always.
    """
    raise KoopscopeError(
        f"{path} is a binary log of W&B, which is not read",
        "export its history: wandb.Api().run('ENTITY/PROJECT/RUN').history(pandas=False), saved "
        "as JSON lines",
    )
