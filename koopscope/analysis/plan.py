"""How a run is read for a question: all of it, a window of its snapshots, or a sample of weights.

The choice rests on what each would cost, and comes with its reason in words. Where the exact answer
is quick, no estimate is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from koopscope.analysis.settings import Method, Settings
from koopscope.engine.local import DOUBLE_UP_TO, window_grams
from koopscope.engine.sampled import MeasuredGrams, Sample, projected_grams
from koopscope.engine.source import GramSource, ProgressListener, exact_pass_seconds
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, TensorInfo, snapshots_between

#: A read that takes longer than this is worth avoiding where nobody asked for exact numbers.
PATIENCE_SECONDS = 30.0

#: A window is multiplied alone where it holds at most this part of very many snapshots.
WINDOW_PART = 0.5

#: Steps in which a sample is enlarged until its error is small enough.
_LEAST_GROWTH, _LARGEST_GROWTH = 2.0, 16.0


def chosen_method(
    run: Run, tensors: Sequence[TensorInfo], settings: Settings, source: GramSource
) -> tuple[Method, str]:
    """Return how to read the run, and why, in a few words.

    Raises
    ------
    KoopscopeError
        If weights are asked for where there are sketches, or the other way round.
    """
    info = run.description.sketch
    if info is not None:
        if settings.method not in ("auto", "sketch"):
            raise KoopscopeError(
                f"{run.description.path} holds {info.words}, and no weights to read by the method "
                f"{settings.method}",
                "leave --method out",
            )
        exact = "that are exact" if not info.resolution else f"known to {info.resolution:.1%}"
        return "sketch", f"{info.words}, seed {info.seed}, and lengths beside it {exact}"
    if settings.method == "sketch":
        raise KoopscopeError(
            f"{run.description.path} holds weights and no sketches", "leave the method out"
        )
    if settings.method != "auto":
        return settings.method, f"{settings.method}, as asked for"
    seconds = _expected_seconds(run, tensors, settings, source)
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
    if window is None or source.expected_seconds(run, tensors) <= _window_seconds(
        run, tensors, window
    ):
        return source(run, tensors, on_progress)
    return window_grams(run, tensors, window, on_progress)


def measured_grams(
    run: Run,
    tensors: Sequence[TensorInfo],
    settings: Settings,
    error_of: Callable[[MeasuredGrams], float],
    on_progress: ProgressListener | None,
) -> MeasuredGrams:
    """Measure each tensor, with as many samples as the settings' tolerance takes, if there is one.

    ``error_of`` tells the largest error that the measurement causes in what matters.
    """
    measuring = settings.measuring
    if measuring.measurement != "sample":
        return projected_grams(run, tensors, measuring, on_progress)
    sample = Sample(run, tensors, measuring.seed, on_progress)
    sample.draw(measuring.count)
    while measuring.tolerance is not None and not sample.grams.is_exact():
        error = error_of(sample.grams)
        if error <= measuring.tolerance:
            break
        sample.draw(_further_weights(sample.grams.weights_read, error, measuring.tolerance))
    return sample.grams


def _further_weights(weights_read: int, error: float, tolerance: float) -> int:
    """Return how many more weights a sample needs whose largest error should be ``tolerance``.

    Errors fall with the square root of the weights read. The measured error is uncertain itself:
    one step at least doubles a sample, and makes it at most sixteen times as large.
    """
    growth = min(max((error / tolerance) ** 2, _LEAST_GROWTH), _LARGEST_GROWTH)
    return int(weights_read * (growth - 1.0))


def _small_window(run: Run, settings: Settings) -> slice | None:
    steps = run.description.steps
    first, stop = snapshots_between(steps, settings.window)
    few = 0 < stop - first <= WINDOW_PART * len(steps)
    return slice(first, stop) if few and len(steps) > DOUBLE_UP_TO else None


def _window_seconds(run: Run, tensors: Sequence[TensorInfo], window: slice) -> float:
    return exact_pass_seconds(run, tensors, window.stop - window.start)


def _expected_seconds(
    run: Run, tensors: Sequence[TensorInfo], settings: Settings, source: GramSource
) -> float:
    """Return about how long this machine works for the exact answer, the cheaper way."""
    seconds = source.expected_seconds(run, tensors)
    window = _small_window(run, settings)
    return seconds if window is None else min(seconds, _window_seconds(run, tensors, window))
