"""Recorded runs of known laws: one law and one basis each, so that what differs is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from koopscope.runs.native.recorder import Recorder

SHAPES = {"body.weight": (12, 8), "body.bias": (12,), "head.weight": (5, 12), "head.bias": (5,)}


def trained(
    path: Path,
    *,
    decays: tuple[float, ...] = (0.95, 0.8),
    noise: float = 0.02,
    seed: int = 0,
    start: int | None = None,
    snapshots: int = 30,
    spacing: int = 10,
    names: dict[str, str] | None = None,
    bad_from: int | None = None,
    dtype: str = "float32",
) -> Path:
    """Record weights that settle as the decays say, under noise of their own; return the file.

    ``start`` is the seed of the first weights and of the directions, by default the run's own.
    """
    fixed = np.random.default_rng(seed if start is None else start)
    rng = np.random.default_rng(1000 + seed)
    limits = {name: fixed.standard_normal(shape) for name, shape in SHAPES.items()}
    modes = [{name: fixed.standard_normal(shape) for name, shape in SHAPES.items()} for _ in decays]
    state = np.ones(len(decays))
    walk = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    with Recorder(path) as recorder:
        for t in range(snapshots):
            weights = {}
            for name, shape in SHAPES.items():
                moved = sum(a * mode[name] for a, mode in zip(state, modes, strict=True))
                value = limits[name] + moved + walk[name]
                if bad_from is not None and t >= bad_from:
                    value = np.full(shape, np.nan)
                weights[(names or {}).get(name, name)] = value.astype(dtype)
            assert recorder.snapshot(t * spacing, weights)
            state = state * np.array(decays)
            walk = {
                name: 0.9 * value + noise * rng.standard_normal(value.shape)
                for name, value in walk.items()
            }
    return path


def repeats(
    folder: Path, name: str, count: int, first_seed: int = 0, **recipe: object
) -> list[Path]:
    """Record a recipe with several seeds."""
    return [
        trained(folder / f"{name}-{k}.h5", seed=first_seed + k, **recipe)  # type: ignore[arg-type]
        for k in range(count)
    ]
