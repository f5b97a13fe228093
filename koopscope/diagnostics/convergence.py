"""Is training done, and when could it have stopped? Decided from the weights, causally.

The papers read convergence off eigenvalues that cluster around 1 (Manojlovic et al. 2020); that
cluster is there in every run, done or not, so it is reported but decides nothing. What decides are
the increments: how far their law still leads, how straight and how fast the weights move, and the
recorded losses where there are some. May not look at a run's name, family or metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.evidence import StatedEvidence, keyed, shown_with
from koopscope.diagnostics.finding import (
    TOO_FEW,
    Criterion,
    Diagnostic,
    Explanation,
    Finding,
    Status,
    usable,
)
from koopscope.diagnostics.statistics.end_state import State, lost_again, training_state
from koopscope.diagnostics.statistics.rest_of_way import rest_of_way
from koopscope.diagnostics.statistics.stopping import (
    EARLIEST_STOP,
    GAIN_FLOOR,
    STOP_BELOW,
    StopRule,
    stop_rule,
    stop_score,
)
from koopscope.diagnostics.statistics.trajectory import course_of, trained_network

#: No state is named before this many snapshots, as many as twelve epochs leave. Of 40 held-out runs
#: thinned to 12, 13 and 16 snapshots the state was right for 24, 27 and 27 with losses and for 23,
#: 21 and 22 from the weights alone: twelve are no worse than thirteen.
LEAST_SNAPSHOTS = 12

#: Storage hides motion where more than this share of the moving entries stands still between
#: snapshots, and rounding is no less than this part of an increment (dead units stand still too).
COARSE = 0.5
COARSE_ROUNDING = 0.1

#: Eigenvalues of the raw spectrum at most this far from 1 count as clustered around it.
CLUSTER_RADIUS = 0.05


@dataclass(frozen=True)
class StopPoint:
    """The stop rule at one snapshot; see ``StopRule``."""

    step: int
    statistic: float
    interval: tuple[float, float]
    score: float
    allowed: bool


@dataclass(frozen=True)
class StopThreshold:
    """Where the stop rule stops, and which records it looks at."""

    threshold: float
    source: str = field(metadata=keyed("from"))


@dataclass(frozen=True)
class Cluster:
    """How many eigenvalues of the raw spectrum lie within a radius of 1, and their share."""

    radius: float
    count: int
    of: int
    share: float


@dataclass(frozen=True)
class ConvergenceEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    stop_step
        First step at which the run could have been stopped, ``None`` where there is none.
    stop_history
        The stop rule at every snapshot from which a stop may be called.
    remaining, remaining_interval
        Predicted rest of the way, as part of the way from the first snapshot to the last.
    cluster
        Of the raw spectrum around 1; decides nothing.
    training_loss_ratio
        Last training loss over the first one, where that decides.
    still_training, has_learned
        Probabilities, as fitted, that the state was drawn from.
    source
        Which records the state was drawn from.
    unfamiliar
        Share of the statistics that lie outside of what the runs showed that the verdict was tuned
        on; from a fifth on the state is inconclusive.
    stop_rule
        Threshold of the stop rule.
    ahead
        Predicted improvement still ahead, as part of all that was gained.
    snapshots
        How many the answer rests on.
    unchanged
        Share of the moving entries that stand still between snapshots, as stored.
    coarse
        Whether storage hides too much of the motion for a verdict.
    lost
        How much of what the training loss had gained is lost again at the end, where that is more
        than half and beyond noise.
    """

    state: State = "inconclusive"
    stop_step: int | None = None
    stop_history: tuple[StopPoint, ...] = ()
    remaining: float | None = None
    cluster: Cluster | None = None
    training_loss_ratio: float | None = field(
        default=None, metadata=shown_with("training_loss_ratio")
    )
    lost: float | None = field(default=None, metadata=shown_with("lost"))
    still_training: float | None = field(default=None, metadata=shown_with("still_training"))
    has_learned: float | None = field(default=None, metadata=shown_with("has_learned"))
    source: str | None = field(default=None, metadata=keyed("from", shown_with="source"))
    unfamiliar: float | None = field(default=None, metadata=shown_with("unfamiliar"))
    stop_rule: StopThreshold | None = field(default=None, metadata=shown_with("stop_rule"))
    ahead: float | None = field(default=None, metadata=shown_with("ahead"))
    snapshots: int | None = field(default=None, metadata=shown_with("snapshots"))
    unchanged: float | None = field(default=None, metadata=shown_with("unchanged"))
    coarse: bool | None = field(default=None, metadata=shown_with("coarse"))
    remaining_interval: tuple[float, float] | None = field(
        default=None, metadata=shown_with("remaining_interval")
    )


def ask(analysis: Analysis) -> Finding:
    """Name the state of the run and the earliest step at which it could have been stopped."""
    steps = analysis.description.steps[analysis.window.first : analysis.window.stop]
    evidence = ConvergenceEvidence()
    if analysis.breaks_off:
        evidence = ConvergenceEvidence(state="diverging")
        broken = break_of(analysis)
        message = f"Diverging: weights become NaN or infinite after step {steps[-1]}."
        hint = _HINTS["diverging"]
        if broken is not None and not broken.grew:
            message, hint = f"{broken.message}.", broken.hint
        criterion = Criterion("finite weights", f"not finite after step {steps[-1]}")
        action = broken.action if broken is not None else lower_rate()
        return DIAGNOSTIC.finding(
            "fail", message, evidence, hint=hint, criterion=criterion, action=action
        )
    if len(steps) < LEAST_SNAPSHOTS:
        message = f"{usable(len(steps))} too few to judge convergence: it takes {LEAST_SNAPSHOTS}."
        action = Action("record_more", count=LEAST_SNAPSHOTS)
        return DIAGNOSTIC.finding("inconclusive", message, evidence, hint=TOO_FEW, action=action)
    network = trained_network(analysis)
    if network is None or network.path_length() <= 0.0:
        what = "changed" if analysis.finite_tensors else "is finite"
        message = f"No weight {what}, so convergence cannot be judged."
        return DIAGNOSTIC.finding("inconclusive", message, evidence)
    course = course_of(analysis)
    # A sketch or a sample leaves errors of its own.
    errors = None
    if not analysis.is_exact:
        errors = analysis.measured_spread("convergence", lambda part: stop_score(course_of(part)))
    rule = stop_rule(course, errors)
    drawn = training_state(course)
    rest = rest_of_way(analysis)
    motion = analysis.motion()
    coarse = motion.unchanged > COARSE and motion.rounding > COARSE_ROUNDING
    stop = None if coarse else rule.stop
    evidence = ConvergenceEvidence(
        state="inconclusive" if coarse else drawn.state,
        training_loss_ratio=drawn.training_loss_ratio,
        still_training=drawn.still_training,
        has_learned=drawn.has_learned,
        source=drawn.source,
        unfamiliar=drawn.unfamiliar,
        stop_step=None if stop is None else int(steps[stop]),
        stop_rule=StopThreshold(
            threshold=rule.threshold,
            source=rule.edition.source,
        ),
        stop_history=_history(rule, steps),
        ahead=float(rule.ahead[-1]),
        snapshots=len(steps),
        unchanged=motion.unchanged,
        coarse=coarse,
        lost=None if course.training is None else lost_again(course.training),
        cluster=_cluster(analysis),
        remaining=None if rest is None else rest.part,
        remaining_interval=None if rest is None else (rest.low, rest.high),
    )
    return _verdict(evidence, rule, stop, steps)


def _history(rule: StopRule, steps: npt.NDArray[np.int64]) -> tuple[StopPoint, ...]:
    return tuple(
        StopPoint(
            step=int(steps[t]),
            statistic=float(rule.ahead[t]),
            interval=(float(rule.low[t]), float(rule.high[t])),
            score=float(rule.score[t]),
            allowed=bool(rule.allowed[t]),
        )
        for t in range(min(EARLIEST_STOP, len(steps) - 1), len(steps))
    )


def _cluster(analysis: Analysis) -> Cluster | None:
    if not analysis.has_spectrum:  # too few snapshots for the delays asked for
        return None
    raw = analysis.spectrum(observable="weights")
    near = np.abs(raw.eigenvalues - 1.0) <= CLUSTER_RADIUS
    return Cluster(
        radius=CLUSTER_RADIUS,
        count=int(near.sum()),
        of=raw.rank,
        share=float(raw.shares[near].sum()),
    )


_STATUS: dict[State, Status] = {
    "training": "info",
    "converged": "pass",
    "stalled": "fail",
    "diverging": "fail",
    "inconclusive": "inconclusive",
}
_WORDS = {
    "training": "Still training",
    "converged": "Converged",
    "stalled": "Stalled without having learned much",
    "diverging": "Diverging",
    "inconclusive": "Cannot tell whether training is done",
}
_FOUND = {"stalled": "one that stalled", "diverging": "one that diverges"}
_HINTS = {
    "stalled": "restart rather than go on; the other findings say what to change",
    "diverging": "go on from before it diverged: koopscope restore RUN --at healthy -o FILE",
}


def _criterion(evidence: ConvergenceEvidence) -> Criterion:
    """Return what the state was held against: the state decides, whatever lies ahead."""
    ratio = evidence.training_loss_ratio
    if evidence.state == "diverging" and ratio is not None:
        return Criterion(
            "a training loss that ends no higher than it began",
            f"{ratio:.3g} times as high",
        )
    return Criterion("a run that learns or has converged", _FOUND.get(evidence.state, "one"))


def _verdict(
    evidence: ConvergenceEvidence,
    rule: StopRule,
    stop: int | None,
    steps: npt.NDArray[np.int64],
) -> Finding:
    state = evidence.state
    lost = state == "stalled" and evidence.lost is not None
    words = "Lost again what it had learned" if lost else _WORDS[state]
    message = (
        f"{words}: {_part(rule.ahead[-1])} of all improvement is still to come "
        f"({_part(rule.low[-1])} to {_part(rule.high[-1])}), judged by the {rule.edition.source}"
    )
    if state == "diverging" and evidence.training_loss_ratio is not None:
        times = f"{evidence.training_loss_ratio:.3g} times"
        message = f"{_WORDS[state]}: the last training loss is {times} the first one"
    if evidence.coarse:
        message += (
            f"; but {evidence.unchanged:.0%} of the weights keep the same stored value from one "
            "snapshot to the next, which hides slow changes"
        )
    if stop is not None and state in ("training", "converged"):
        span = float(steps[-1] - steps[0])
        message += (
            f"; stopping at step {steps[stop]}, after {(steps[stop] - steps[0]) / span:.0%} of "
            "the run, would have been enough"
        )
    message += "."
    return DIAGNOSTIC.finding(
        _STATUS[state],
        message,
        evidence,
        value=float(rule.ahead[-1]),
        hint=_HINTS.get(state),
        criterion=_criterion(evidence),
        action=_action(evidence),
    )


def _part(of_improvement: float) -> str:
    """Return a part of the improvement with no more digits than a person reads."""
    if of_improvement < 0.0005:
        return "nothing" if of_improvement <= 0.0 else "less than 0.1%"
    return f"{of_improvement:.1%}" if of_improvement < 0.0995 else f"{of_improvement:.0%}"


def _action(evidence: ConvergenceEvidence) -> Action:
    if evidence.state == "diverging":
        return lower_rate()
    if evidence.state == "converged":
        return Action("stop", step=evidence.stop_step)
    return Action("restart") if evidence.state == "stalled" else Action()


DIAGNOSTIC = Diagnostic(
    id="convergence",
    code="KS101",
    title="Convergence",
    explanation=Explanation(
        asks="Is training done, and when could it have stopped?",
        matters=(
            "Steps after that point cost compute and bring nothing; stopping earlier throws "
            "quality away."
        ),
        looks_at=(
            "How fast, how straight and how far the weights move from snapshot "
            "to snapshot, and how far that motion would still lead. From this it predicts the "
            "share of the total improvement that is still to come, and calls the first step "
            "at which training could have stopped, from the snapshots up to that step alone. "
            "A recorded training loss joins in naming the state; a recorded validation loss "
            "joins in calling the stop. A recorded learning rate (lr) joins in naming the "
            "state, and in calling the stop where no validation loss does: by how it changed, "
            "never by its value."
        ),
        to_do=(
            "Still training: go on. Converged: stop, or go back to the stop step next time. "
            "Stalled or diverging: look at the initialization and stability findings and "
            "restart rather than go on."
        ),
        accuracy=(
            "On 523 clear runs of 27 families that no threshold has seen, the state was right "
            "for 87% with losses (12% cannot tell) and for 78% from the weights alone (11% "
            "cannot tell). Of the 364 runs that learned, 7 were stopped too early with losses "
            "and 19 without: docs/evidence/diagnostics.md."
        ),
        cannot_tell=(
            "It cannot foresee a learning rate that is lowered later, nor progress that sets "
            "in after a long plateau. Without a validation loss it cannot see over-fitting."
        ),
    ),
    ask=ask,
    unit="share of the improvement",
    threshold=float(np.exp(STOP_BELOW["weights"]) - GAIN_FLOOR),
)
