"""How a run is read for a question: all of it, a window of its snapshots, or a sample of weights.

Decides by what each would cost, and says why; must never choose an estimate where the exact answer
is quick.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopscope.analysis.settings import Method, Settings
from koopscope.engine.local import DOUBLE_UP_TO, GramSource, ProgressListener, window_grams
from koopscope.engine.sampled import MeasuredGrams, expected_seconds
from koopscope.engine.store import GramStore
from koopscope.runs.run import Run, TensorInfo

#: A read that takes longer than this is worth avoiding where nobody asked for exact numbers.
PATIENCE_SECONDS = 30.0

#: A window is multiplied alone where it holds at most this part of very many snapshots.
WINDOW_PART = 0.5


def chosen_method(
    run: Run, tensors: Sequence[TensorInfo], settings: Settings, source: GramSource
) -> tuple[Method, str]:
    """Return how to read the run, and why, in a few words."""
    if settings.method != "auto":
        return settings.method, f"{settings.method}, as asked for"
    seconds = _expected(run, tensors, settings, source)
    if seconds <= PATIENCE_SECONDS:
        return "exact", f"exact, since it takes about {max(seconds, 1.0):.0f} s or less"
    return "compressed", (
        f"compressed, since reading all {run.volume(tensors) / 1e9:,.0f} GB would take about "
        f"{seconds:,.0f} s (--method exact does it)"
    )


def what_was_measured(grams: MeasuredGrams, settings: Settings) -> str:
    """Say how much of the run a compressed pass rests on."""
    if grams.is_exact():
        return "the sample grew to every weight, so the numbers are exact"
    if settings.measurement == "sample":
        return (
            f"{grams.weights_read:,} of {grams.weights:,} weights were read, seed {settings.seed}"
        )
    return (
        f"{settings.measuring.count:,} {settings.measurement} projections of each tensor, "
        f"seed {settings.seed}"
    )


def exact_grams(
    run: Run,
    tensors: Sequence[TensorInfo],
    settings: Settings,
    source: GramSource,
    on_progress: ProgressListener | None,
) -> GramStore:
    """Return the inner products of all snapshots, or of those that the settings look at.

    The products of a few hundred snapshots cost little more than their reading, and serve every
    later window. Those of very many are the whole cost, so a window is multiplied alone.
    """
    window = _small_window(run, settings)
    if window is None or _knows(source, run, tensors):
        return source(run, tensors, on_progress)
    return window_grams(run, tensors, window, on_progress)


def _small_window(run: Run, settings: Settings) -> slice | None:
    steps = run.description.steps
    low, high = settings.window
    first = 0 if low is None else int(np.searchsorted(steps, low))
    stop = len(steps) if high is None else int(np.searchsorted(steps, high, side="right"))
    few = 0 < stop - first <= WINDOW_PART * len(steps)
    return slice(first, stop) if few and len(steps) > DOUBLE_UP_TO else None


def _knows(source: GramSource, run: Run, tensors: Sequence[TensorInfo]) -> bool:
    """Return whether asking the source costs nothing here: it remembers, or has a cluster."""
    expected = getattr(source, "expected_seconds", expected_seconds)
    return float(expected(run, tensors)) == 0.0


def _expected(
    run: Run, tensors: Sequence[TensorInfo], settings: Settings, source: GramSource
) -> float:
    if _knows(source, run, tensors):
        return 0.0
    window = _small_window(run, settings)
    inside = run.description.snapshots if window is None else window.stop - window.start
    return expected_seconds(run, tensors, inside)
