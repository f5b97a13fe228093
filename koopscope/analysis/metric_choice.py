"""Which recorded metric counts as validation and as training, and on which side it is better.

What a user says comes first (``NAME:min`` or ``NAME:max``), else names are guessed from, and the
guess can be said. Reads names and which values were given; judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES
from koopscope.runs.run import RunDescription

Better = Literal["min", "max"]

_LOWER_IS_BETTER = re.compile(
    r"loss|error|err\b|perplexity|ppl|nll|mse|mae|rmse|wer|cer|fid|cross_?entropy", re.IGNORECASE
)
_HIGHER_IS_BETTER = re.compile(
    r"acc|f1|auc|auroc|bleu|rouge|iou|precision|recall|reward|score|\bmap\b|r2|psnr|ssim",
    re.IGNORECASE,
)

#: A metric of data that is not trained on, by a word at either end of its name.
_HELD_OUT_WORD = "(?:val|valid|validation|eval|dev|test)"
_HELD_OUT = re.compile(
    f"{_HELD_OUT_WORD}[_./ -].+|.+[_./ -]{_HELD_OUT_WORD}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class MetricChoice:
    """A recorded metric, and on which side of its values better ones lie.

    Attributes
    ----------
    name
        As recorded.
    better
        ``min`` where lower values are better, ``max`` where higher ones are.
    guessed
        Whether it was chosen by its name, since nobody said which.
    """

    name: str
    better: Better
    guessed: bool = True

    @property
    def words(self) -> str:
        """Its name and direction, for a sentence: ``val_loss (lower is better)``."""
        return f"{self.name} ({'lower' if self.better == 'min' else 'higher'} is better)"

    def as_loss(self, values: Float64) -> Float64:
        """Return values turned so that lower is better."""
        turned: Float64 = values if self.better == "min" else -values
        return turned

    def best_of(self, run: RunDescription) -> BestValue | None:
        """Return the best value that a run recorded; ``None`` where it recorded none."""
        values = np.asarray(run.metrics.get(self.name, ()), float)
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            return None
        at = known[np.argmin(self.as_loss(values[known]))]
        return BestValue(float(values[at]), int(run.steps[at]), float(values[known[-1]]))


@dataclass(frozen=True)
class BestValue:
    """The best value of a metric, its step, and the last value."""

    value: float
    step: int
    last: float


def better_side(name: str) -> Better | None:
    """Return on which side a metric of this name is better; ``None`` where the name tells not."""
    if _LOWER_IS_BETTER.search(name):
        return "min"
    return "max" if _HIGHER_IS_BETTER.search(name) else None


def parsed_choice(text: str) -> MetricChoice:
    """Return the choice that ``NAME:min``, ``NAME:max`` or ``NAME`` says.

    Raises
    ------
    KoopscopeError
        If the direction is neither said nor told by the name.
    """
    name, colon, side = text.rpartition(":")
    if colon and side in ("min", "max"):
        if name:
            return MetricChoice(name, "min" if side == "min" else "max", guessed=False)
    elif better := better_side(text):
        return MetricChoice(text, better, guessed=False)
    raise KoopscopeError(
        f"the metric {text!r} does not say whether lower or higher values are better",
        "write NAME:min or NAME:max, for example val_accuracy:max",
    )


def validation_choice(
    metrics: Mapping[str, Float64], asked: str | None = None
) -> MetricChoice | None:
    """Return the metric that says how good the run is on data it was not trained on.

    Parameters
    ----------
    metrics
        By name, float64 [T], NaN where no value was given.
    asked
        What the user said, if anything; see ``parsed_choice``.

    Raises
    ------
    KoopscopeError
        If the run holds no value of the metric that was asked for.
    """
    if asked is not None:
        choice = parsed_choice(asked)
        if choice.name in metrics and np.isfinite(metrics[choice.name]).any():
            return choice
        near = get_close_matches(choice.name, metrics, n=1)
        recorded = f"it holds: {', '.join(metrics)}" if metrics else "it holds no metric at all"
        raise KoopscopeError(
            f"the run holds no value of the metric {choice.name!r}",
            f"did you mean {near[0]!r}?" if near and near[0] != choice.name else recorded,
        )
    return next(_guesses(metrics), None)


def training_choice(metrics: Mapping[str, Float64]) -> MetricChoice | None:
    """Return the recorded training loss, ``None`` where there is none."""
    for name in TRAINING_LOSSES:
        if name in metrics and np.isfinite(metrics[name]).any():
            return MetricChoice(name, "min")
    return None


def shared_choice(choices: Sequence[MetricChoice | None]) -> MetricChoice | None:
    """Return the metric of all runs that have one, if that is one and the same for two or more."""
    known = [choice for choice in choices if choice is not None]
    kinds = {(choice.name, choice.better) for choice in known}
    return known[0] if len(kinds) == 1 and len(known) > 1 else None


def _guesses(metrics: Mapping[str, Float64]) -> Iterator[MetricChoice]:
    """Yield the validation metrics: losses by their usual names, other losses, then scores."""
    given = [name for name, values in metrics.items() if np.isfinite(values).any()]
    for name in VALIDATION_LOSSES:
        if name in given:
            yield MetricChoice(name, "min")
    held_out = [(name, better_side(name)) for name in given if _HELD_OUT.fullmatch(name)]
    for wanted in ("loss", ""):
        for name, better in held_out:
            if better is not None and wanted in name.lower():
                yield MetricChoice(name, better)
