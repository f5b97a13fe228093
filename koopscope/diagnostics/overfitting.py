"""Does the validation loss rise while training goes on, from when, and which weights to keep?

The rise since the smoothed minimum, held against the scatter of the curve and against what was
gained. A look at the recorded losses alone: no weight is needed to see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import StatedEvidence, shown_with
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, Status
from koopscope.diagnostics.statistics.keeping import best_point
from koopscope.diagnostics.statistics.loss_curve import (
    LossCurve,
    training_curve,
    validation_curve,
)

State = Literal["none", "overfitting", "the run got worse", "not asked", "inconclusive"]

#: Points of a validation curve below which no rise is told from noise.
LEAST_POINTS = 6

#: Rise since the best value, as part of all that was gained, from which on a run is over-fitting
#: and from which on it is a failure.
RISE, LARGE_RISE = 0.05, 0.2

#: Standard errors between the rise and the bounds of its interval.
_ERRORS = 2.0

#: A rise counts beyond so many standard deviations of single values: the minimum of a noisy curve
#: is lower than the curve is, and the noise of a run's validation loss is not white.
DEVIATIONS = 6.0


@dataclass(frozen=True)
class OverfittingEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    metric, better
        The validation metric and on which side of it better values lie.
    guessed
        Whether it was chosen by its name.
    best_step, best
        Where the smoothed metric was best, and its recorded value there.
    last
        Mean of the last values.
    rise, rise_interval
        From the smoothed best to the end, as part of what was gained until then.
    points
        Recorded values that it rests on.
    """

    state: State = "inconclusive"
    metric: str | None = None
    better: str | None = field(default=None, metadata=shown_with("metric"))
    guessed: bool | None = field(default=None, metadata=shown_with("metric"))
    best_step: int | None = field(default=None, metadata=shown_with("best_step"))
    best: float | None = field(default=None, metadata=shown_with("best_step"))
    last: float | None = field(default=None, metadata=shown_with("best_step"))
    rise: float | None = field(default=None, metadata=shown_with("best_step"))
    rise_interval: tuple[float, float] | None = field(
        default=None, metadata=shown_with("best_step")
    )
    points: int = 0

    @property
    def value_interval(self) -> tuple[float, float] | None:
        """The interval of the rise."""
        return self.rise_interval


@dataclass(frozen=True)
class Rise:
    """How far a curve lies above its smoothed best at the end; ``best`` is an index of it."""

    best: int
    height: float
    error: float
    noise: float


def rise_of(curve: LossCurve) -> Rise:
    """Return the rise of a curve's last smooth value above its least one."""
    lowest = int(np.argmin(curve.smooth))
    noise = curve.noise(lowest)
    return Rise(
        best=best_point(curve.values),
        height=float(curve.smooth[-1] - curve.smooth[lowest]),
        error=noise * math.sqrt(2.0 / curve.width),
        noise=noise,
    )


def ask(analysis: Analysis) -> Finding:
    """Hold the end of the validation curve against its best."""
    curve = validation_curve(analysis)
    if curve is None:
        return DIAGNOSTIC.finding(
            "info",
            "Not asked: no validation metric was recorded, and weights alone do not show "
            "over-fitting.",
            OverfittingEvidence(state="not asked"),
            hint="record one: snapshot(..., val_loss=value), or name it with --metric",
        )
    named = OverfittingEvidence(
        metric=curve.choice.name,
        better=curve.choice.better,
        guessed=curve.choice.guessed,
        points=len(curve),
    )
    if len(curve) < LEAST_POINTS:
        values = "value" if len(curve) == 1 else "values"
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{len(curve)} recorded {values} of {curve.choice.name} are too few to tell a rise "
            f"from noise: it takes {LEAST_POINTS}.",
            named,
            action=Action("record_more", count=LEAST_POINTS),
        )
    return _judged(curve, training_curve(analysis), named)


def _judged(curve: LossCurve, training: LossCurve | None, named: OverfittingEvidence) -> Finding:
    rise = rise_of(curve)
    # A run whose validation never got better has gained nothing to measure a rise by: then the
    # rise itself is the scale, and any that is beyond noise counts in full.
    scale = curve.gain or max(rise.height, 1e-300)
    share, error = rise.height / scale, _ERRORS * rise.error / scale
    sign = 1.0 if curve.choice.better == "min" else -1.0
    beyond = rise.height > DEVIATIONS * rise.noise and share > RISE
    state: State = "overfitting" if beyond else "none"
    if beyond and training is not None:
        risen, noise = _change(training, int(curve.steps[rise.best]))
        if risen > max(noise, RISE * training.gain):
            state = "the run got worse"
        elif risen >= -noise:
            state = "none"  # training rests: a validation loss that wanders is not over-fitting
    evidence = OverfittingEvidence(
        state=state,
        metric=named.metric,
        better=named.better,
        guessed=named.guessed,
        best_step=int(curve.steps[rise.best]),
        best=sign * float(curve.values[rise.best]),
        last=sign * float(curve.smooth[-1]),
        rise=share,
        rise_interval=(share - error, share + error),
        points=named.points,
    )
    return _verdict(evidence, bool(curve.gain))


def _change(training: LossCurve, since: int) -> tuple[float, float]:
    """Return by how much the training loss rose since a step, and what its noise makes of that."""
    at = min(int(np.searchsorted(training.steps, since)), len(training.smooth) - 1)
    risen = float(training.smooth[-1] - training.smooth[at])
    return risen, _ERRORS * training.noise(at) * math.sqrt(2.0 / training.width)


def _verdict(evidence: OverfittingEvidence, gained: bool) -> Finding:
    share, name = evidence.rise or 0.0, evidence.metric
    better = "lowest" if evidence.better == "min" else "highest"
    best = f"{name} was {better} at step {evidence.best_step} ({evidence.best:.4g})"
    lost = f"{share:.0%} of what it had gained" if gained else "more than it ever gained"
    action, hint = Action(), None
    status: Status = "pass"
    if evidence.state == "overfitting":
        status = "fail" if share >= LARGE_RISE or not gained else "warn"
        message = (
            f"Over-fitting since step {evidence.best_step}: {best} and is {evidence.last:.4g} at "
            f"the end, {lost} lost again, while training went on."
        )
        action = Action("restore", step=evidence.best_step)
        hint = "to gain more: more data, augmentation, weight decay or a smaller network"
    elif evidence.state == "the run got worse":
        status = "warn"
        message = (
            f"The run got worse since step {evidence.best_step}: {best} and is "
            f"{evidence.last:.4g} at the end, but the training loss rises as well, so this is not "
            "over-fitting."
        )
        action = Action("restore", step=evidence.best_step)
        hint = "look at the learning-rate and spikes findings"
    elif share > RISE:
        message = (
            f"No over-fitting that stands out: {best} and is {evidence.last:.4g} at the end, which "
            "is within its scatter, or comes while the training loss rests."
        )
    elif share > 0.0:
        message = (
            f"No over-fitting: {best}, and since then {max(share, 0.001):.1%} of what it had "
            "gained was lost again."
        )
    else:
        message = f"No over-fitting: {name} is at its best at the end ({evidence.last:.4g})."
    return DIAGNOSTIC.finding(
        status,
        message,
        evidence,
        value=share,
        hint=hint,
        action=action,
        criterion=None
        if status == "pass"
        else Criterion(
            f"at most {RISE:.0%} of what {name} gained lost again",
            f"{share:.0%} lost since step {evidence.best_step}" if gained else f"no gain of {name}",
            of_value=True,
        ),
    )


DIAGNOSTIC = Diagnostic(
    id="overfitting",
    code="KS102",
    title="Over-fitting",
    explanation=Explanation(
        asks="Does the validation metric get worse while training goes on, and since when?",
        matters=(
            "From that step on the network learns its training data by heart; the weights of "
            "the best step are worth more than the last ones."
        ),
        looks_at=(
            "The recorded validation metric: the best of its running mean, and by how much "
            "the end lies above it, as part of all that was gained. The interval comes from "
            "the scatter of neighbouring values. Where the training loss rises as well, it is "
            "called that and not over-fitting. Which metric counts is guessed by name "
            "(val_loss first) and can be said with --metric."
        ),
        to_do=(
            "Use the weights of the step that is named. To gain more: more data, "
            "augmentation, weight decay, dropout, or a smaller network."
        ),
        accuracy=(
            "On runs of six held-out families it found 11 of 15 over-fit ones, with 1 false alarm "
            "in 21 (patience 5: 14 and 11). The step to go back to costs nothing in the median on "
            "validation data that it has not seen: docs/evidence/rules.md."
        ),
        cannot_tell=(
            "It sees what a look at the validation curve sees, and no more: weights are not "
            "used. It cannot tell whether a second descent would follow."
        ),
    ),
    ask=ask,
    unit="of the gain lost again",
    threshold=RISE,
)
