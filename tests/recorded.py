"""Runs recorded from arrays, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from koopscope.runs.native.recorder import Recorder


def recorded(
    path: Path, trajectories: Mapping[str, np.ndarray], steps: Sequence[int] | None = None
) -> Path:
    """Record (T, *shape) arrays, one snapshot per first index."""
    count = len(next(iter(trajectories.values())))
    with Recorder(path) as recorder:
        for t, step in enumerate(steps or range(count)):
            assert recorder.snapshot(step, {name: a[t] for name, a in trajectories.items()})
    return path


def settling(
    shapes: Mapping[str, tuple[int, ...]], snapshots: int = 12, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return float32 weights that decay towards a limit as 0.8^t and 0.5^t: (T, *shape) each."""
    rng = np.random.default_rng(seed)
    t = np.arange(snapshots)
    found = {}
    for name, shape in shapes.items():
        limit, slow, fast = rng.standard_normal((3, *shape))
        moving = np.multiply.outer(0.8**t, slow) + np.multiply.outer(0.5**t, fast)
        found[name] = (limit + moving).astype(np.float32)
    return found


#: A small network in PyTorch's names and shapes; every width is its own.
MLP = {
    "hidden.0.weight": (12, 9),
    "hidden.0.bias": (12,),
    "hidden.1.weight": (7, 12),
    "hidden.1.bias": (7,),
    "norm.weight": (5, 5),
    "head.weight": (4, 7),
    "head.bias": (4,),
}
PRUNABLE = ("hidden.0.weight", "hidden.1.weight", "head.weight")
