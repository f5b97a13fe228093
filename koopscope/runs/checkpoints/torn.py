"""Which of several checkpoints a training may have left half written: the one it wrote last."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from koopscope.runs.checkpoints.snapshot import Snapshot


def newest(paths: Sequence[Path]) -> Path | None:
    """Return the checkpoint that was changed last, of equals the last one; none of a single one."""
    if len(paths) < 2:
        return None
    return max(enumerate(paths), key=lambda pair: (_changed(pair[1]), pair[0]))[1]


def what_it_lacks(snapshot: Snapshot, whole: Snapshot) -> str:
    """Return the first tensor that a snapshot lacks of a whole one, if it holds nothing else."""
    had = set(snapshot.tensors)
    if not had <= set(whole.tensors):
        return ""
    return next((tensor.name for tensor in whole.tensors if tensor not in had), "")


def _changed(path: Path) -> int:
    """Return when a file, or the last of a folder's own files, was changed, in nanoseconds."""
    times = [0]
    with contextlib.suppress(OSError):
        if path.is_dir():
            with os.scandir(path) as entries:
                times += [entry.stat().st_mtime_ns for entry in entries if entry.is_file()]
        else:
            times.append(path.stat().st_mtime_ns)
    return max(times)
