"""Is training done, and when could it have stopped? Decided from the weights, causally.

The papers read convergence off eigenvalues that cluster around 1 (Manojlovic et al. 2020); that
cluster is there in every run, done or not, so it is reported but decides nothing. What decides are
the increments: how far their law still leads, how straight and how fast the layers move, and the
recorded losses where there are some. May not look at a run's name, family or metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.evidence import StatedEvidence, keyed, shown_with
from koopscope.diagnostics.finding import (
    Criterion,
    Diagnostic,
    Explanation,
    Finding,
    Status,
    usable,
)
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.editions import Edition
from koopscope.diagnostics.statistics.trajectory import RANK, Course, course_of, layer_grams
from koopscope.spectra.dmd import dmd
from koopscope.spectra.geometry import WINDOW
from koopscope.spectra.gram import total
from koopscope.spectra.remainder import remainder

State = Literal["training", "converged", "stalled", "diverging", "inconclusive"]

#: No state is named before this many snapshots, as many as twelve epochs leave. Of 40 held-out runs
#: thinned to 12, 13 and 16 snapshots the state was right for 24, 27 and 27 with losses and for 23,
#: 21 and 22 from the weights alone: twelve are no worse than thirteen.
LEAST_SNAPSHOTS = 12

#: Index of the first snapshot at which a stop may be called.
EARLIEST_STOP = 10

#: Stop where the predicted log(improvement still ahead + 0.005) falls below this, by edition. Set
#: on the tuning families, cross-validated: docs/evidence/diagnostics.md.
STOP_BELOW = {"weights": -4.6, "training": -4.5, "validation": -4.0, "losses": -3.9}

#: A recorded validation loss has to be without a new best for so many snapshots before a stop.
WITHOUT_NEW_BEST = 3

#: Improvement below this cannot be told from none: the floor inside the logarithm above.
GAIN_FLOOR = 0.005

#: Scores of a state closer to zero than this are called inconclusive, by edition.
UNDECIDED = {"weights": 0.2, "training": 0.3, "validation": 0.2, "losses": 0.4}

#: A training loss that ends above its first value by this share of all it had gained, beyond three
#: times its noise, has diverged.
DIVERGED = 0.1

#: More of the statistics than this outside of what the tuning runs showed: no case for a verdict.
UNFAMILIAR = 0.2

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
    """

    state: State = "inconclusive"
    stop_step: int | None = None
    stop_history: tuple[StopPoint, ...] = ()
    remaining: float | None = None
    cluster: Cluster | None = None
    training_loss_ratio: float | None = field(
        default=None, metadata=shown_with("training_loss_ratio")
    )
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


@dataclass(frozen=True)
class StopRule:
    """The stop rule over a run's course, one value per snapshot of the window.

    Attributes
    ----------
    edition
        Which records it looks at.
    score
        What is held against the threshold: the predicted log(improvement ahead + 0.005).
    threshold
        Stop where the score is below.
    allowed
        bool, where a stop may be called.
    ahead
        Predicted improvement still ahead, as part of all that was gained.
    low, high
        Where 90% of the tuning runs lay around such a prediction.
    """

    edition: Edition
    score: Float64
    threshold: float
    allowed: npt.NDArray[np.bool_]
    ahead: Float64
    low: Float64
    high: Float64

    @property
    def stop(self) -> int | None:
        """Index of the first snapshot at which the run could have been stopped."""
        below = np.flatnonzero((self.score < self.threshold) & self.allowed)
        return int(below[0]) if len(below) else None


def stop_rule(course: Course) -> StopRule:
    """Apply the stop rule to a run's course."""
    edition = course.edition
    content = scores.table("convergence")["stop"][edition.name]
    score = scores.tree_score(content)(course.all())
    shifts = [np.interp(score, content["at"], content[side]) for side in ("low", "high")]
    bounds = [np.exp(score + shift) - GAIN_FLOOR for shift in (0.0, *shifts)]
    ahead, low, high = (np.clip(bound, 0.0, 1.0) for bound in bounds)
    return StopRule(
        edition=edition,
        score=score,
        threshold=STOP_BELOW[edition.name],
        allowed=may_stop(course),
        ahead=ahead,
        low=low,
        high=high,
    )


def may_stop(course: Course) -> npt.NDArray[np.bool_]:
    """Return bool [T], where a stop may be called whatever the score says."""
    length = len(next(iter(course.weights.values()), ()))
    allowed = np.arange(length) >= EARLIEST_STOP
    if course.validation is not None:
        allowed &= course.validation["since"] >= np.log1p(WITHOUT_NEW_BEST) - 1e-9
    return allowed


@dataclass(frozen=True)
class StateScores:
    """The state at the end of a run, and the numbers of ``ConvergenceEvidence`` behind it."""

    state: State
    training_loss_ratio: float | None = None
    still_training: float | None = None
    has_learned: float | None = None
    source: str | None = None
    unfamiliar: float | None = None


def training_state(course: Course) -> StateScores:
    """Return the state at the end of a run, and what it was drawn from."""
    edition = course.edition
    if course.training is not None and diverged(course.training):
        return StateScores("diverging", training_loss_ratio=course.training_ratio)
    table = scores.table("convergence")
    last = {name: float(values[-1]) for name, values in course.all().items()}
    moving = float(scores.tree_score(table["state"][edition.name]["moving"])(last))
    learned = float(scores.tree_score(table["state"][edition.name]["learned"])(last))
    unfamiliar = scores.unfamiliar(table["known"], last)
    return StateScores(
        named_state(moving, learned, UNDECIDED[edition.name], unfamiliar),
        still_training=round(scores.probability(moving), 4),
        has_learned=round(scores.probability(learned), 4),
        source=edition.source,
        unfamiliar=round(unfamiliar, 4),
    )


def diverged(training: Mapping[str, Float64]) -> bool:
    """Return whether a training loss ended above its start by more than its gain and its noise."""
    rise = float(np.sinh(training["rise"][-1]))
    noise = float(np.exp(training["noise"][-1]))
    return rise > DIVERGED + 3.0 * noise


def named_state(moving: float, learned: float, margin: float, unfamiliar: float = 0.0) -> State:
    """Name the state that two scores, log odds of "still training" and "has learned", stand for."""
    undecided = abs(moving) < margin or (moving < 0.0 and abs(learned) < margin)
    if undecided or unfamiliar > UNFAMILIAR:
        return "inconclusive"
    if moving > 0.0:
        return "training"
    return "converged" if learned > 0.0 else "stalled"


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
        return DIAGNOSTIC.finding("fail", message, evidence, hint=hint, criterion=criterion)
    if len(steps) < LEAST_SNAPSHOTS:
        message = f"{usable(len(steps))} too few to judge convergence: it takes {LEAST_SNAPSHOTS}."
        return DIAGNOSTIC.finding("inconclusive", message, evidence, hint="record more often")
    layers = layer_grams(analysis)
    network = total(layers.values()) if layers else None
    if network is None or network.path_length() <= 0.0:
        what = "changed" if analysis.finite_tensors else "is finite"
        message = f"No weight {what}, so convergence cannot be judged."
        return DIAGNOSTIC.finding("inconclusive", message, evidence)
    course = course_of(analysis)
    rule = stop_rule(course)
    drawn = training_state(course)
    recent = dmd(network.window(max(0, len(steps) - WINDOW), len(steps)), "increments", rank=RANK)
    rest = remainder(recent)
    motion = analysis.motion()
    coarse = motion.unchanged > COARSE and motion.rounding > COARSE_ROUNDING
    stop = None if coarse else rule.stop
    travelled = network.displacement()
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
        cluster=_cluster(analysis),
        remaining=rest.distance / travelled if travelled > 0.0 else None,
        remaining_interval=(rest.low / travelled, rest.high / travelled)
        if travelled > 0.0
        else None,
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
_HINTS = {
    "stalled": "look at the initialization and stability findings; restart rather than go on",
    "diverging": "restart with a lower learning rate",
}


def _criterion(evidence: ConvergenceEvidence) -> Criterion:
    """Return what the state was held against: the state decides, whatever lies ahead."""
    ratio = evidence.training_loss_ratio
    if evidence.state == "diverging" and ratio is not None:
        unit = "times the first training loss"
        return Criterion.number(ratio, float(np.exp(DIVERGED)), "higher", unit)
    return Criterion("converged or training", evidence.state)


def _verdict(
    evidence: ConvergenceEvidence,
    rule: StopRule,
    stop: int | None,
    steps: npt.NDArray[np.int64],
) -> Finding:
    state = evidence.state
    message = (
        f"{_WORDS[state]}: judged by the {rule.edition.source}, {rule.ahead[-1]:.1%} of the total "
        f"improvement is still to come ({rule.low[-1]:.1%} to {rule.high[-1]:.1%})"
    )
    if state == "diverging" and evidence.training_loss_ratio is not None:
        times = f"{evidence.training_loss_ratio:.3g} times"
        message = f"{_WORDS[state]}: the last training loss is {times} the first one"
    if evidence.coarse:
        message += (
            f"; but {evidence.unchanged:.0%} of the weights keep the same stored value from one "
            "snapshot to the next, which hides slow changes"
        )
    if stop is not None and state != "diverging":
        span = float(steps[-1] - steps[0])
        message += (
            f"; training could have stopped at step {steps[stop]}, "
            f"after {(steps[stop] - steps[0]) / span:.0%} of the run"
        )
    message += f" ({len(steps)} snapshots)."
    return DIAGNOSTIC.finding(
        _STATUS[state],
        message,
        evidence,
        value=float(rule.ahead[-1]),
        hint=_HINTS.get(state),
        criterion=_criterion(evidence),
    )


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
            "How fast, how straight and how far the weights of each layer move from snapshot "
            "to snapshot, and how far that motion would still lead. From this it predicts the "
            "share of the total improvement that is still to come, and calls the first step "
            "at which training could have stopped, from the snapshots up to that step alone. "
            "A recorded training loss joins in naming the state; a recorded validation loss "
            "joins in calling the stop."
        ),
        to_do=(
            "Still training: go on. Converged: stop, or go back to the stop step next time. "
            "Stalled or diverging: look at the initialization and stability findings and "
            "restart rather than go on."
        ),
        accuracy=(
            "On 196 runs of seven families that no threshold has seen, the state was right "
            "for 82% with losses (11% cannot tell) and for 73% from the weights alone (10% "
            "cannot tell). Of the 124 runs that learned, 2.4% were stopped too early with "
            "losses and 1.6% without: docs/evidence/diagnostics.md."
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
