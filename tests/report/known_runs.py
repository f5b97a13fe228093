"""Small runs in closed form, diagnosed, for everything that reports on them.

``python -m tests.report.known_runs`` writes the golden texts anew; look at the difference.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.diagnosis import Diagnosis, diagnose
from koopscope.diagnostics.finding import Finding
from koopscope.report.analysis_report import Report
from koopscope.report.analysis_text import render
from koopscope.report.text.terminal_style import Page
from koopscope.runs.run import RunDescription, Skipped, TensorInfo
from koopscope.spectra.accumulating import gram_of

GOLDEN = Path(__file__).parent / "golden"

#: Eigenvalues per snapshot, with the amplitude of each; complex ones stand for a pair.
MODES = ((0.97, 2.0), (0.8 + 0.45j, 1.0), (0.6, 0.7), (-0.5, 0.3), (0.3 + 0.2j, 0.2))

NAMES = ("body.0.weight", "body.0.bias", "body.1.weight", "head.weight")
SPACING = 10


def trajectory(snapshots: int, size: int, seed: int) -> np.ndarray:
    """Return (T, size): a constant part, plus each mode in directions of its own."""
    random = np.random.default_rng(seed)
    times = np.arange(snapshots)
    weights = np.tile(random.normal(size=size), (snapshots, 1))
    for value, amplitude in MODES:
        for part in (np.real, np.imag) if isinstance(value, complex) else (np.real,):
            direction = random.normal(size=size) / np.sqrt(size)
            weights += amplitude * np.outer(part(np.complex128(value) ** times), direction)
    return weights


def snapshots_of(
    snapshots: int = 40, names: tuple[str, ...] = NAMES, bad_from: int | None = None
) -> dict[str, np.ndarray]:
    """Return each tensor's snapshots; the first tensor is NaN from snapshot ``bad_from`` on."""
    arrays = {name: trajectory(snapshots, 24 + 8 * k, k) for k, name in enumerate(names)}
    if bad_from is not None:
        arrays[names[0]][bad_from:, 3] = np.nan
    return arrays


def diagnosed(
    arrays: dict[str, np.ndarray], metrics: dict[str, np.ndarray] | None = None, **settings: Any
) -> Diagnosis:
    """Diagnose snapshots as if they had come from a file."""
    count = len(next(iter(arrays.values())))
    description = RunDescription(
        path="runs/known.h5",
        format="koopscope-run 1.0",
        steps=np.arange(count, dtype=np.int64) * SPACING,
        tensors=tuple(
            TensorInfo(name, array.shape[1:], "float64") for name, array in arrays.items()
        ),
        metrics=metrics or {},
        skipped=(Skipped("batches", "complex64 values"), Skipped("seen", "int64 values")),
    )
    grams = {name: gram_of(array.reshape(count, -1)) for name, array in arrays.items()}
    return diagnose(Analysis(description, grams, Settings(**settings)))


def losses_of(snapshots: int = 40) -> dict[str, np.ndarray]:
    """Return a training loss that falls, and a validation loss that is given now and then."""
    times = np.arange(snapshots)
    validation = 1.0 + np.square(times - 15.0) / 300.0
    validation[times % 3 != 0] = np.nan
    return {"loss": 2.0 * 0.9**times, "val_loss": validation}


#: name -> every kind of run that a report must be able to show.
KINDS = {
    "known": lambda: diagnosed(snapshots_of(), rank=5),
    "losses": lambda: diagnosed(snapshots_of(), losses_of(), rank=5),
    "tensors": lambda: diagnosed(snapshots_of(), rank=5, level="tensor"),
    "network": lambda: diagnosed(snapshots_of(), rank=5, level="network", observable="weights"),
    "window": lambda: diagnosed(snapshots_of(), rank=3, delay=3, window=(50, 300)),
    "one": lambda: diagnosed(snapshots_of(1)),
    "two": lambda: diagnosed(snapshots_of(2)),
    "three": lambda: diagnosed(snapshots_of(3)),
    "nan": lambda: diagnosed(snapshots_of(bad_from=25), rank=3),
    "never_finite": lambda: diagnosed(snapshots_of(bad_from=0), rank=3),
    "frozen": lambda: diagnosed({name: np.ones((12, 5)) for name in NAMES}),
    "zero_start": lambda: diagnosed({"a.w": np.outer(1.0 - 0.9 ** np.arange(12), np.ones(4))}),
    "deep": lambda: diagnosed(
        snapshots_of(30, tuple(f"transformer.blocks.{k}.attention.weight" for k in range(60))),
        rank=5,
    ),
}

#: One of each status, so that the golden texts do not change with what the diagnostics say.
FINDINGS = (
    Finding("rest", "KS101", "inconclusive", "Nobody can tell whether it has come to rest."),
    Finding("numbers", "KS903", "pass", "Every recorded weight is a finite number."),
    Finding(
        "growth",
        "KS201",
        "fail",
        "The leading mode grows by a factor of 1.3 from one snapshot to the next, twice the limit.",
        value=1.3,
        threshold=1.1,
        hint="lower the learning rate, or clip the gradients, and look at the steps just before",
        action=Action("lower_lr", factor_range=(0.1, 1 / 3)),
    ),
    Finding("snapshots", "KS902", "warn", "9 snapshots are few.", hint="record at least 20"),
    Finding("depth", "KS401", "info", "Three layers carry the motion."),
)

GOLDEN_PAGES = {
    "known-80-columns": ("known", Page(width=80)),
    "losses-80-columns": ("losses", Page(width=80)),
    "losses-ascii": ("losses", Page(width=80, unicode=False)),
    "known-ascii": ("known", Page(width=80, unicode=False)),
    "known-styled": ("known", Page(width=80, styled=True, coloured=True)),
    "tensors-piped": ("tensors", Page()),
    "one-snapshot": ("one", Page(width=80)),
    "nan": ("nan", Page(width=80)),
}


def golden_text(name: str) -> str:
    kind, page = GOLDEN_PAGES[name]
    diagnosis = replace(KINDS[kind](), findings=FINDINGS)
    return render(Report((diagnosis,), with_spectrum=kind != "losses"), page) + "\n"


if __name__ == "__main__":
    for golden in GOLDEN_PAGES:
        (GOLDEN / f"{golden}.txt").write_text(golden_text(golden), encoding="utf-8")
