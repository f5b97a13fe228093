"""Tell in what two recordings of one training differ, bit for bit. It trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run


def differences(stored: Path, fresh: Path) -> list[str]:
    """Return one sentence for each thing in which two recordings differ, bit for bit."""
    with open_run(stored) as old, open_run(fresh) as new:
        return list(_differences(old, new))


def _differences(old: Run, new: Run) -> Iterator[str]:
    before, after = old.description, new.description
    if before.tensors != after.tensors:
        yield f"tensors: stored {before.tensors}, now {after.tensors}"
        return
    if not np.array_equal(before.steps, after.steps):
        yield f"steps: stored {before.steps.tolist()}, now {after.steps.tolist()}"
        return
    for key in {**before.metadata, **after.metadata}:
        was, is_now = before.metadata.get(key), after.metadata.get(key)
        if was != is_now:
            yield f"metadata {key}: stored {was}, now {is_now}"
    for tensor in before.tensors:
        values = [
            np.empty((before.snapshots, tensor.size), run.read_dtype(tensor)) for run in (old, new)
        ]
        for run, out in zip((old, new), values, strict=True):
            run.read(tensor, 0, tensor.size, out)
        yield from _first_difference(f"tensor {tensor.name}", before.steps, *values)
    for name, metric in before.metrics.items():
        columns = (metric[:, None], after.metrics[name][:, None])
        yield from _first_difference(f"metric {name}", before.steps, *columns)


def _first_difference(
    name: str, steps: np.ndarray, stored: np.ndarray, fresh: np.ndarray
) -> Iterator[str]:
    words = np.dtype(f"u{stored.itemsize}")
    differs = (stored.view(words) != fresh.view(words)).any(axis=1)
    if differs.any():
        apart = np.isfinite(stored) & np.isfinite(fresh)
        largest = np.abs(stored[apart].astype(np.float64) - fresh[apart]).max(initial=0)
        yield f"{name}: differs from step {steps[differs.argmax()]} on, by at most {largest:.3g}"
