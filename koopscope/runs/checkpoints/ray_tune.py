"""Trials of Ray Tune: ``checkpoint_000003`` beside ``result.json`` and what it says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from koopscope.runs.checkpoints.metrics_log import numbers_of
from koopscope.runs.checkpoints.snapshot import Snapshot

RESULTS = "result.json"
_LIMIT = 256 * 2**20
_MOST_LINES = 1_000_000
_LARGEST = 2**62

#: What Ray writes about itself.
_BOOKKEEPING = {"pid", "timestamp", "done", "iterations_since_restore", "time_since_restore"}
_BOOKKEEPING |= {"training_iteration", "should_checkpoint", "timesteps_since_restore", "config"}


def with_trial(snapshot: Snapshot, path: Path) -> Snapshot:
    """Add the step and the log of a trial to a checkpoint of it; any other is returned as it is.

    Parameters
    ----------
    snapshot, path
        Of ``checkpoint_000003``, or of the one file in it.
    """
    folder = path if path.is_dir() else path.parent
    results = folder.parent / RESULTS
    if not folder.name.startswith("checkpoint_") or not results.is_file():
        return snapshot
    about = results.stat()
    log, steps = _trial(results, about.st_size, about.st_mtime_ns)
    step = steps.get(folder.name)
    if step is None:
        note = f"{results} does not name {folder.name}: its number is no training_iteration"
        return replace(snapshot, notes=(*snapshot.notes, note))
    return replace(snapshot, kind=f"Ray Tune ({snapshot.kind})", step=step, unit="step", log=log)


_Log = tuple[dict[str, float], ...]


@lru_cache(maxsize=4)
def _trial(results: Path, size: int, modified: int) -> tuple[_Log, dict[str, int]]:
    """Return the entries of a trial, each with its ``step``, and the step of each checkpoint."""
    log: list[dict[str, float]] = []
    steps: dict[str, int] = {}
    if size > _LIMIT:
        return (), {}
    with results.open("rb") as file:
        for count, line in enumerate(file):
            entry = _entry(line)
            step = entry.get("training_iteration")
            if type(step) is not int or not 0 <= step < _LARGEST or count >= _MOST_LINES:
                continue
            named = entry.get("checkpoint_dir_name")
            if isinstance(named, str):
                steps[named] = step
            kept = {k: v for k, v in entry.items() if k not in _BOOKKEEPING}
            log.append({"step": float(step)} | numbers_of(kept))
    return tuple(log), steps


def _entry(line: bytes) -> dict[str, Any]:
    """Return one line; Ray's last may be half written."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
