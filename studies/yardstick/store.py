"""Runs as Gram matrices and metrics in one array file: all that a verdict looks at.

The products are kept in single precision, each tensor's relative to the largest of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.gram import SnapshotGram

_COUNTS = ("still", "compared", "twins")


def pack(
    description: RunDescription, grams: Mapping[str, SnapshotGram], known: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return a run's arrays; ``known`` is what else there is to know of it, for JSON."""
    tensors = [tensor for tensor in description.tensors if tensor.name in grams]
    upper = np.triu_indices(description.snapshots - 1)
    increments, entries = [], []
    for tensor in tensors:
        gram = grams[tensor.name]
        scale = float(np.abs(gram.increments).max()) or 1.0
        increments.append((gram.increments[upper] / scale).astype(np.float32))
        entries.append(
            {
                **dataclasses.asdict(tensor),
                **{name: getattr(gram.changes, name) for name in _COUNTS},
                "anchor_square": gram.anchor_square,
                "scale": scale,
            }
        )
    chosen = [grams[tensor.name] for tensor in tensors]
    arrays = {
        "increments": np.array(increments),
        "anchor_increments": np.array([gram.anchor_increments for gram in chosen]),
        "unchanged": np.array([gram.changes.unchanged for gram in chosen], np.int32),
        "nonfinite": np.array([gram.nonfinite for gram in chosen], np.int32),
        "steps": description.steps,
        "known": np.array(json.dumps({**known, "tensors": entries})),
    }
    arrays |= {f"metrics/{name}": np.asarray(v) for name, v in description.metrics.items()}
    return arrays


def unpack(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[Analysis, dict[str, Any]]:
    """Return the analysis of a packed run, and what else is known of it."""
    known = json.loads(str(arrays["known"]))
    steps = arrays["steps"]
    moves = len(steps) - 1
    upper = np.triu_indices(moves)
    grams, tensors = {}, []
    for index, entry in enumerate(known.pop("tensors")):
        products = np.zeros((moves, moves))
        products[upper] = arrays["increments"][index]
        products += np.triu(products, 1).T
        counts = {each: entry.pop(each) for each in _COUNTS}
        scale, anchor_square = entry.pop("scale"), entry.pop("anchor_square")
        tensor = TensorInfo(**{**entry, "shape": tuple(entry["shape"])})
        tensors.append(tensor)
        grams[tensor.name] = SnapshotGram(
            increments=products * scale,
            anchor_increments=arrays["anchor_increments"][index].astype(np.float64),
            anchor_square=anchor_square,
            size=tensor.size,
            nonfinite=arrays["nonfinite"][index].astype(np.int64),
            changes=ChangeCounts(unchanged=arrays["unchanged"][index].astype(np.int64), **counts),
        )
    metrics = {
        key.removeprefix("metrics/"): value
        for key, value in arrays.items()
        if key.startswith("metrics/")
    }
    description = RunDescription(name, "yardstick", steps, tuple(tensors), metrics)
    return Analysis(description, grams, Settings()), known


def write(path: Path, runs: Mapping[str, Mapping[str, np.ndarray]], *, small: bool = False) -> None:
    """Write packed runs to one file."""
    arrays = {f"{name}|{key}": value for name, run in runs.items() for key, value in run.items()}
    with path.open("wb") as file:
        (np.savez_compressed if small else np.savez)(file, **arrays)  # type: ignore[operator]


def read(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read packed runs."""
    runs: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            name, _, part = key.partition("|")
            runs.setdefault(name, {})[part] = arrays[key]
    return runs
