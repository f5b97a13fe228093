"""Real frameworks for tests: skipped with a reason where missing, unless the caller insists."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.runs.detect.opening import open_run

#: Names of modules that must be there, separated by spaces: their absence fails instead of skips.
REQUIRED = "REQUIRE_FRAMEWORKS"

#: What some tests train with, read from or compare to, and a machine may lack. No test module may
#: import one of them by itself: see ``framework``, and tests/test_bare_machine.py.
OPTIONAL = (
    "accelerate",
    "axe_core_python",
    "dask",
    "deepspeed",
    "diffusers",
    "distributed",
    "equinox",
    "flax",
    "gymnasium",
    "jax",
    "keras",
    "lightning",
    "mcp",
    "ml_dtypes",
    "mlflow",
    "mlx",
    "networkx",
    "orbax",
    "peft",
    "playwright",
    "pydmd",
    "ray",
    "safetensors",
    "sklearn",
    "stable_baselines3",
    "tensorboard",
    "tensorflow",
    "tensorstore",
    "torch",
    "trackio",
    "transformers",
    "wandb",
    "xarray",
    "yaml",
)


def required() -> list[str]:
    """Return the modules whose absence must fail."""
    return os.environ.get(REQUIRED, "").split()


def framework(name: str) -> ModuleType:
    """Import a framework, or skip the test, or the whole module when it is being imported."""
    if name == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")
    if name.partition(".")[0] in required():
        return import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed")


def public_names() -> set[str]:
    """Return what ``koopscope`` offers on this machine: its accelerator needs PyTorch."""
    import koopscope

    absent = {"KoopmanAccelerator"} if find_spec("torch") is None else set()
    return set(koopscope.__all__) - absent - {"__version__"}


def assert_same_numbers(recorded: Path, other: object, first_step: int) -> None:
    """Hold every product and every eigenvalue of two sources against each other, to 1e-12."""
    settings = Settings(window=(first_step, None), rank=4)
    with open_run(recorded) as run:
        left = Analysis.of(run, settings)
    with open_run(other) as run:
        right = Analysis.of(run, settings)
    steps = [
        analysis.description.steps[analysis.window.first : analysis.window.stop].tolist()
        for analysis in (left, right)
    ]
    assert steps[0] == steps[1]
    assert len(steps[0]) > 5
    assert left.gram().size == right.gram().size
    ours, theirs = left.gram(), right.gram()
    scale = np.abs(ours.increments).max()
    assert scale > 0.0
    np.testing.assert_allclose(theirs.increments, ours.increments, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(theirs.anchor_square, ours.anchor_square, rtol=1e-12)
    for observable in ("increments", "weights"):
        # About their mean weights have one direction less: the last value is rounding alone.
        values = slice(-1 if observable == "weights" else None)
        np.testing.assert_allclose(
            right.spectrum(observable=observable).singular_values[values],
            left.spectrum(observable=observable).singular_values[values],
            rtol=0,
            atol=1e-12 * left.spectrum(observable=observable).singular_values[0],
        )
        np.testing.assert_allclose(
            right.spectrum(observable=observable).eigenvalues,
            left.spectrum(observable=observable).eigenvalues,
            rtol=0,
            atol=1e-9 if observable == "weights" else 1e-12,
        )
