"""Is the learning rate too low, about right or too high, and what should it be multiplied by?

Too low shows in motion that is straight, short and nowhere near its end; too high in a loss that
scatters as widely as it learned, or ends far above its best, while the weights bounce. May not look
at the rate itself: what it is in numbers says nothing about what the network can bear.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, usable
from koopscope.diagnostics.statistics.keeping import best_point
from koopscope.diagnostics.statistics.loss_curve import training_curve, validation_curve
from koopscope.diagnostics.statistics.progress import (
    Drift,
    LossProgress,
    drift_of,
    loss_progress,
    rate_left,
)
from koopscope.diagnostics.statistics.standstill import dead_since

State = Literal["too low", "about right", "too high", "schedule ended", "inconclusive"]

LEAST_SNAPSHOTS = 12

#: The rate is too low where motion is so straight, in all and from one change to the next, and so
#: short beside the first weights, while the loss still gains this part of everything in the last
#: half: half of it would be a straight line.
STRAIGHT, AHEAD, SHORT, STILL_FALLING = 0.9, 0.85, 0.15, 0.25

#: The same where no loss can say that it still falls, or a schedule slowed the end.
VERY_STRAIGHT, VERY_SHORT = 0.95, 0.03

#: The distance that runs at a fitting rate travel, beside their first weights; and how far a
#: single step of advice may go.
USUAL_TRAVEL, LEAST_FACTOR, MOST_FACTOR, FACTOR_ERROR = 0.3, 3.0, 100.0, 3.0

#: A loss of which the last half brought so much still falls along a line, so that at least this
#: many times the way lies ahead.
ALONG_A_LINE, FACTOR_OF_A_LINE = 0.4, 10.0

#: A rate that has to be raised so many times leaves nothing of a run, where a loss says so, too: a
#: pretrained network may be meant to move little.
FAR_TOO_LOW = 8.0

#: The rate is too high where changes do not agree (mean cosine below) and the loss scatters by this
#: part of its gain, or ends this far above its best; it ruins the run beyond the larger ones.
BOUNCING, ROUGH, ABOVE = 0.3, 0.1, 0.25
RUINED_ROUGH, RUINED_ABOVE = 0.3, 0.4

#: Weights that travelled this many times their first norm, or more, and learned nothing; unless
#: they started so small (root mean square) that any motion is many times that.
FAR, TINY = 2.0, 1e-3

#: A schedule has ended below this part of the largest rate; it cut learning short where the last
#: half of the run still brought this part of the gain.
ENDED, CUT_SHORT = 0.2, 0.05


@dataclass(frozen=True)
class LearningRateEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    motion
        Of the whole network; ``None`` where nothing moved.
    losses
        The training loss and the validation metric, as far as they are recorded.
    rate_left
        The last recorded rate over the largest, ``None`` where no rate is recorded.
    best_step
        Where the validation metric (else the training loss) was best; ``None`` where none gained.
    """

    state: State = "inconclusive"
    motion: Drift | None = None
    losses: tuple[LossProgress, ...] = ()
    rate_left: float | None = None
    best_step: int | None = None


@dataclass(frozen=True)
class Called:
    """A state, and what spoke for it: what was expected, what is there, and whether it ruined."""

    state: State
    expected: str
    found: str
    ruined: bool = False


def ask(analysis: Analysis) -> Finding:
    """Name the side on which the learning rate is wrong, if it is."""
    if (broken := break_of(analysis)) is not None:
        return DIAGNOSTIC.finding(
            "fail" if broken.grew else "inconclusive",
            f"{broken.message}.",
            LearningRateEvidence(state="too high" if broken.grew else "inconclusive"),
            hint=broken.hint,
            criterion=Criterion("finite weights", f"NaN or infinite from step {broken.next_step}"),
            action=broken.action,
        )
    snapshots = analysis.window.snapshots
    if snapshots < LEAST_SNAPSHOTS:
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{usable(snapshots)} too few to judge the learning rate: it takes {LEAST_SNAPSHOTS}.",
            LearningRateEvidence(),
            action=Action("record_more", count=LEAST_SNAPSHOTS),
        )
    motion = drift_of(analysis)
    if motion is None:
        what = "changed" if analysis.finite_tensors else "is finite"
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"No weight {what}, so there is no learning rate to judge.",
            LearningRateEvidence(),
        )
    if dead_since(analysis) == 0:
        return DIAGNOSTIC.finding(
            "inconclusive",
            "No weight matrix ever changes, only biases do: that says nothing of the rate.",
            LearningRateEvidence(motion=motion),
        )
    curves = (training_curve(analysis), validation_curve(analysis))
    losses = tuple(each for each in map(loss_progress, curves) if each is not None)
    left = rate_left(analysis)
    called = rate_called(motion, losses, left)
    known = [curve for curve in curves if curve is not None]
    learned = any(loss.gained for loss in losses)
    best = int(known[-1].steps[best_point(known[-1].values)]) if known and learned else None
    evidence = LearningRateEvidence(called.state, motion, losses, left, best)
    return _verdict(evidence, called, motion)


def ask_after(analysis: Analysis, earlier: Mapping[str, Finding]) -> Finding:
    """Judge what came before a spike that the run did not recover from, where there is one.

    What happened at one moment is told by that finding; it says nothing of the rate until then.
    """
    spikes = earlier.get("spikes")
    if spikes is None or spikes.action.do != "restore" or spikes.action.step is None:
        return ask(analysis)
    before = analysis.until(spikes.action.step)
    if before.window.snapshots < LEAST_SNAPSHOTS:
        return ask(analysis)
    finding = ask(before)
    if finding.status != "pass":
        return finding
    return replace(
        finding,
        status="info",
        message=f"The learning rate was about right until the spike after step "
        f"{spikes.action.step}, which may have come from it.",
        hint="look at the rate at that step, and lower it if it was the usual one",
    )


def rate_called(motion: Drift, losses: tuple[LossProgress, ...], left: float | None) -> Called:
    """Name what the numbers show, the worst first."""
    return (
        _too_high(motion, losses)
        or _too_low(motion, losses, left)
        or _schedule_ended(losses, left)
        or Called("about right", "motion that is neither bouncing nor merely straight", "neither")
    )


def _too_high(motion: Drift, losses: tuple[LossProgress, ...]) -> Called | None:
    """Every loss has to say so: that of single minibatches scatters by itself."""
    if not losses:
        return None
    far = motion.travel > FAR and motion.first_scale > TINY
    if far and not any(loss.gained for loss in losses):
        return Called(
            "too high",
            f"a loss that falls, or weights that go less far than {FAR:g} times their first size",
            f"no loss that falls, and weights {motion.travel:.1f} times their first size away",
            ruined=True,
        )
    if motion.cosine > BOUNCING:
        return None
    rough, above = min(loss.rough for loss in losses), min(loss.above for loss in losses)
    if rough > ROUGH and any(loss.gained for loss in losses):
        return Called(
            "too high",
            f"a loss that scatters by at most {ROUGH:.0%} of its gain",
            f"a loss that scatters by {rough:.0%} of its gain",
            ruined=rough > RUINED_ROUGH or above > RUINED_ABOVE,
        )
    if above > ABOVE and any(loss.gained for loss in losses):
        return Called(
            "too high",
            f"an end at most {ABOVE:.0%} of the gain above the best loss",
            f"an end {above:.0%} of the gain above the best loss",
            ruined=above > RUINED_ABOVE,
        )
    return None


def _too_low(motion: Drift, losses: tuple[LossProgress, ...], left: float | None) -> Called | None:
    slowed = left is not None and left < 1.0 - ENDED
    falling = [loss.half for loss in losses if loss.gained]
    straight, short = STRAIGHT, SHORT
    if slowed or not falling:
        straight, short = VERY_STRAIGHT, VERY_SHORT
    elif max(falling) < STILL_FALLING:
        return None
    if motion.directness < straight or motion.cosine < AHEAD or motion.travel > short:
        return None
    return Called(
        "too low",
        f"weights that turn, or go further than {short:.0%} of their first size",
        f"{motion.directness:.0%} of the way straight ahead, {motion.travel:.2g} times that size",
    )


def _schedule_ended(losses: tuple[LossProgress, ...], left: float | None) -> Called | None:
    gaining = max((loss.half for loss in losses if loss.gained), default=0.0)
    if left is None or left > ENDED or gaining < CUT_SHORT:
        return None
    return Called(
        "schedule ended",
        f"less than {CUT_SHORT:.0%} of the gain in the last half before the rate goes down",
        f"{gaining:.0%}",
    )


def raise_by(motion: Drift, losses: tuple[LossProgress, ...]) -> float:
    """Return what to multiply a rate by that is too low: to go as far as runs usually go."""
    straight = any(loss.gained and loss.half > ALONG_A_LINE for loss in losses)
    least = FACTOR_OF_A_LINE if straight else LEAST_FACTOR
    return min(max(USUAL_TRAVEL / motion.travel, least), MOST_FACTOR)


def _raise(factor: float) -> Action:
    digits = 10.0 ** math.floor(math.log10(factor))
    rounded = round(factor / digits) * digits
    return Action(
        "raise_lr",
        factor=rounded,
        factor_range=(max(1.0, rounded / FACTOR_ERROR), rounded * FACTOR_ERROR),
    )


def _verdict(evidence: LearningRateEvidence, called: Called, motion: Drift) -> Finding:
    criterion = Criterion(called.expected, called.found)
    if called.state == "too low":
        factor = raise_by(motion, evidence.losses)
        action = _raise(factor)
        falling = any(loss.gained and loss.half > STILL_FALLING for loss in evidence.losses)
        return DIAGNOSTIC.finding(
            "fail" if factor >= FAR_TOO_LOW and falling else "warn",
            "The learning rate is too low: the weights move straight ahead "
            f"({motion.directness:.0%} of the way is progress) but only by {motion.travel:.2g} "
            "times their first size, and nothing shows an end of it.",
            evidence,
            value=motion.cosine,
            hint="then look again: a rate is found in steps",
            criterion=criterion,
            action=action,
        )
    if called.state == "too high":
        action = lower_rate()
        if called.ruined:
            action = Action(
                "lower_lr", factor=0.1, factor_range=(0.03, 0.3), step=evidence.best_step
            )
        return DIAGNOSTIC.finding(
            "fail" if called.ruined else "warn",
            f"The learning rate is too high: {called.found}"
            + (", so the run is ruined." if called.ruined else ", while the weights bounce."),
            evidence,
            value=motion.cosine,
            hint="or clip gradients, or warm the rate up",
            criterion=criterion,
            action=action,
        )
    if called.state == "schedule ended":
        return DIAGNOSTIC.finding(
            "info",
            f"The schedule ended, not the learning: the rate is at {evidence.rate_left or 0.0:.0%} "
            f"of its peak, and the last half of the run still brought {called.found} of the gain.",
            evidence,
            value=motion.cosine,
            hint="train longer with the same peak, or let the rate go down later",
            criterion=criterion,
        )
    by = "the weights and the losses" if evidence.losses else "the weights alone"
    return DIAGNOSTIC.finding(
        "pass", f"The learning rate is about right, by {by}.", evidence, value=motion.cosine
    )


DIAGNOSTIC = Diagnostic(
    id="learning-rate",
    code="KS203",
    title="Learning rate",
    explanation=Explanation(
        asks="Is the learning rate too low, about right or too high, and what should it be?",
        matters=(
            "A rate that is ten times too low costs ten times the compute; one that is too "
            "high ends worse than it could, or ruins the run."
        ),
        looks_at=(
            "Too low: the weights move straight ahead and hardly anywhere, while the loss still "
            "falls along a line. Too high: every recorded loss scatters by "
            f"{ROUGH:.0%} of its gain or more, or ends {ABOVE:.0%} above its best, while the "
            "weight changes do not agree. Without a loss only too low is called, and stability "
            "tells of growing and wandering weights. A recorded rate that went down is named "
            "where it cut the learning short."
        ),
        to_do=(
            "Multiply the rate by the factor that is named, within its range, and look again. The "
            "factor for a rate that is too low makes the weights travel as far as they usually do."
        ),
        accuracy=(
            "On runs of six held-out families it found 14 of 18 rates that were too low and 8 of "
            "12 that were too high, without a false alarm in 36 and 30. The factor for a rate that "
            "is too low is on the safe side, about ten times less than the true one: "
            "docs/evidence/rules.md."
        ),
        cannot_tell=(
            "It cannot tell a rate that is two or three times off. A task whose loss scatters by "
            "itself (reinforcement learning, adversarial training) looks like one with a rate "
            "that is too high."
        ),
    ),
    ask=ask,
    ask_after=ask_after,
    worse="lower",
    unit="mean cosine of successive weight changes",
)
