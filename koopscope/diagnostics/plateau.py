"""Has progress stopped at this learning rate although the weights still move?

A loss that no longer falls goes with weights that bounce about (a lower rate would let them
settle), that rest (nothing more to gain this way) or that go straight on (the loss may fall again
later). The loss says that it is flat; only the weights tell the three apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, usable
from koopscope.diagnostics.statistics.loss_curve import training_curve, validation_curve
from koopscope.diagnostics.statistics.progress import (
    LEAST_POINTS,
    Drift,
    LossProgress,
    drift_of,
    loss_progress,
    rate_left,
)

State = Literal[
    "progress", "plateau", "at rest", "on the way", "rising", "not asked", "inconclusive"
]

#: A loss is flat where it fell by less than this part of its gain in the last quarter, and rises
#: where it rose by more than the second, and by more than two standard errors.
FLAT, RISING = 0.01, 0.05

#: Where the changes undo each other so much, a fall below its standard error and below this part is
#: no progress either: then the noise of the loss is the bouncing of the weights.
UNDOING, FLAT_IN_NOISE = -0.2, 0.05

#: It is flat, too, where so many values brought no new best (the patience of PyTorch's
#: ReduceLROnPlateau), and this part of all values; then less bouncing will do.
PATIENCE, PART_OF_POINTS, LOOSELY_BOUNCING = 10, 0.15, 0.4

#: Weights bounce below the first mean cosine of successive changes, and go straight on above the
#: second; they still move at this part of their mean speed.
BOUNCING, STRAIGHT, MOVING = 0.15, 0.6, 0.2

#: A lower rate has something to gain where the loss scatters by this part of its gain.
WORTH_LOWERING = 0.003

#: The rate is as good as gone below this part of its peak: then the schedule ended.
RATE_LEFT = 0.5


@dataclass(frozen=True)
class PlateauEvidence(StatedEvidence):
    """What the answer rests on: the loss in the last quarter, the motion, and the rate's rest."""

    state: State = "inconclusive"
    loss: LossProgress | None = None
    motion: Drift | None = None
    rate_left: float | None = None


def ask(analysis: Analysis) -> Finding:
    """Say whether the loss is flat, and what the weights do meanwhile."""
    curve = training_curve(analysis) or validation_curve(analysis)
    if curve is None:
        return DIAGNOSTIC.finding(
            "info",
            "Not asked: no loss was recorded that could have stopped to fall.",
            PlateauEvidence(state="not asked"),
            hint="record one: snapshot(..., loss=value)",
        )
    loss = loss_progress(curve)
    if loss is None:
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{usable(len(curve))} too few to tell a plateau: it takes {LEAST_POINTS} with a loss.",
            PlateauEvidence(),
            action=Action("record_more", count=LEAST_POINTS),
        )
    motion = drift_of(analysis)
    if motion is None:
        what = "changed" if analysis.finite_tensors else "is finite"
        return DIAGNOSTIC.finding(
            "inconclusive", f"No weight {what}, so nothing was under way.", PlateauEvidence()
        )
    left = rate_left(analysis)
    evidence = PlateauEvidence(plateau_state(loss, motion, left, len(curve)), loss, motion, left)
    return _verdict(evidence, loss, motion)


def plateau_state(loss: LossProgress, motion: Drift, left: float | None, points: int) -> State:
    """Name what a flat loss of so many points goes with."""
    in_noise = loss.quarter < min(loss.quarter_error, FLAT_IN_NOISE)
    stale = loss.stale >= PATIENCE and loss.stale >= PART_OF_POINTS * points
    flat = loss.quarter < FLAT or (in_noise and motion.cosine < UNDOING)
    if not flat and not stale:
        return "progress"
    if loss.quarter < -max(RISING, 2.0 * loss.quarter_error):
        return "rising"
    slowed = left is not None and left < RATE_LEFT
    if slowed or motion.speed < MOVING:
        return "at rest"
    if motion.cosine > STRAIGHT:
        return "on the way"
    bouncing = motion.cosine < (LOOSELY_BOUNCING if stale else BOUNCING)
    if bouncing and loss.rough > WORTH_LOWERING and loss.gained:
        return "plateau"
    return "at rest"


def _verdict(evidence: PlateauEvidence, loss: LossProgress, motion: Drift) -> Finding:
    fell = f"{loss.metric} fell by {max(loss.quarter, 0.0):.1%} of its gain in the last quarter"
    flat = fell if loss.quarter < FLAT else f"{loss.metric} had no new best for {loss.stale} values"
    if evidence.state == "plateau":
        action = lower_rate()
        return DIAGNOSTIC.finding(
            "warn",
            f"Plateau at this learning rate: {flat}, while the weights still move at "
            f"{motion.speed:.0%} of their mean speed and bounce (mean cosine {motion.cosine:.2f}).",
            evidence,
            value=loss.quarter,
            hint="the weights can then settle; averaging the last snapshots does so at once",
            action=action,
            criterion=Criterion(
                f"a loss that falls by {FLAT:.0%} of its gain, or weights that settle",
                f"{flat}, and weights that bounce",
            ),
        )
    if evidence.state == "rising":
        return DIAGNOSTIC.finding(
            "info",
            f"No plateau: {loss.metric} rose by {-loss.quarter:.1%} of its gain in the last "
            "quarter, which is worse.",
            evidence,
            value=loss.quarter,
            hint="look at the learning-rate and spikes findings",
        )
    if evidence.state == "on the way":
        return DIAGNOSTIC.finding(
            "info",
            f"Flat loss while the weights go straight on: {flat} (mean cosine "
            f"{motion.cosine:.2f}). Either it falls again later, or they grow without end; a lower "
            "rate helps neither.",
            evidence,
            value=loss.quarter,
        )
    if evidence.state == "at rest":
        return DIAGNOSTIC.finding(
            "pass",
            f"No plateau that a lower rate would end: {flat}, and the weights settle.",
            evidence,
            value=loss.quarter,
        )
    return DIAGNOSTIC.finding("pass", f"No plateau: {fell}.", evidence, value=loss.quarter)


DIAGNOSTIC = Diagnostic(
    id="plateau",
    code="KS103",
    title="Plateau",
    explanation=Explanation(
        asks="Has progress stopped at this learning rate although the weights still move?",
        matters=(
            "At a plateau that comes from the rate, more steps bring nothing and a lower rate "
            "brings the rest; at a flat stretch on the way a lower rate only delays."
        ),
        looks_at=(
            "The recorded loss: by which part of all its gain it fell in the last quarter. And "
            "the weights: whether successive changes agree (on the way), cancel (bouncing) or "
            "die down (at rest). A learning rate that went down counts as rest."
        ),
        to_do=(
            "Plateau: lower the rate by 2 to 10 times, or average the last snapshots. On the "
            "way: wait, or raise the rate."
        ),
        accuracy=(
            "On runs of six held-out families it found 4 of 10 plateaus that a lower rate left, "
            "without a false alarm in 38; PyTorch's ReduceLROnPlateau found 7, without one either: "
            "docs/evidence/rules.md."
        ),
        cannot_tell=(
            "Whether the flat stretch will be left, and when. A loss of single minibatches can "
            "hide progress in its noise; record the loss of more data to see it."
        ),
    ),
    ask=ask,
    worse="lower",
    unit="of the gain in the last quarter",
)
