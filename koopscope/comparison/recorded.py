"""What the compared runs recorded of their losses: which of them came how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from koopscope.analysis.metric_choice import (
    BestValue,
    MetricChoice,
    shared_choice,
    training_choice,
    validation_choice,
)
from koopscope.runs.run import RunDescription


@dataclass(frozen=True)
class RecordedMetric:
    """The metric that the runs share, and what it came to in each.

    Attributes
    ----------
    choice
        The metric, and on which side of it better values lie.
    runs
        Path and best value of each run that recorded it, the best one first.
    """

    choice: MetricChoice
    runs: tuple[tuple[str, BestValue], ...]


def recorded_metric(runs: Sequence[RunDescription]) -> RecordedMetric | None:
    """Return what the runs recorded of one metric; ``None`` where no two share one.

    The validation metric, or else the training loss.
    """
    choice = shared_choice([validation_choice(run.metrics) for run in runs])
    choice = choice or shared_choice([training_choice(run.metrics) for run in runs])
    if choice is None:
        return None
    side = 1.0 if choice.better == "min" else -1.0
    found = ((run.path, choice.best_of(run)) for run in runs)
    known = [(path, best) for path, best in found if best is not None]
    return RecordedMetric(choice, tuple(sorted(known, key=lambda each: side * each[1].value)))
