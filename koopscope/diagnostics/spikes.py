"""Did a loss rise suddenly, which layers jumped with it, and did the run recover?

Reads the recorded training loss (the validation metric where there is none) and the lengths of the
weight changes, snapshot by snapshot. What happens between two snapshots is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.evidence import StatedEvidence, shown_with
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding
from koopscope.diagnostics.statistics.jumps import (
    BEFORE,
    DEVIATIONS,
    LEAST_BEFORE,
    PART_OF_GAIN,
    LossSpike,
    jumping_layers,
    loss_spikes,
)
from koopscope.diagnostics.statistics.loss_curve import LossCurve, training_curve, validation_curve
from koopscope.diagnostics.statistics.standstill import dead_since
from koopscope.diagnostics.statistics.trajectory import layer_grams

State = Literal["none", "recovered", "not recovered", "not asked", "inconclusive"]

#: From so many spikes on, a lower rate (or clipping) is worth more than a look at single batches.
MANY = 3

#: Layers and spikes that a sentence names.
_NAMED = 2


@dataclass(frozen=True)
class JumpOfLayer:
    """A layer that jumped with a spike: at which snapshot, to how many times its usual change."""

    layer: str
    step: int
    times: float


@dataclass(frozen=True)
class Spike:
    """One sudden rise of the loss.

    Attributes
    ----------
    step, before_step, peak_step
        Of the first snapshot that shows it, of the one before it, and of its highest value.
    height, of_gain
        Of the peak above the level before; and as part of what was gained until then.
    recovered_step
        Where it was over, ``None`` where it never was.
    layers
        Those that jumped with it, the first one first.
    """

    step: int
    before_step: int
    peak_step: int
    height: float
    of_gain: float
    recovered_step: int | None
    layers: tuple[JumpOfLayer, ...]


@dataclass(frozen=True)
class SpikesEvidence(StatedEvidence):
    """What the answer rests on: the spikes in order, and the metric they were looked for in."""

    state: State = "inconclusive"
    metric: str | None = None
    points: int = 0
    spikes: tuple[Spike, ...] = field(default=(), metadata=shown_with("metric"))


def ask(analysis: Analysis) -> Finding:
    """Look for sudden rises of the loss, and for the layers that jump there."""
    curve = training_curve(analysis) or validation_curve(analysis)
    if curve is None:
        return DIAGNOSTIC.finding(
            "info",
            "Not asked: no loss was recorded to show a spike.",
            SpikesEvidence(state="not asked"),
            hint="record one: snapshot(..., loss=value)",
        )
    if len(curve) <= LEAST_BEFORE:
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{len(curve)} recorded value{'s' if len(curve) != 1 else ''} of {curve.choice.name} "
            f"are too few to tell a spike: it takes {LEAST_BEFORE + 1}.",
            SpikesEvidence(metric=curve.choice.name, points=len(curve)),
            action=Action("record_more", count=LEAST_BEFORE + 1),
        )
    if dead_since(analysis) == 0:
        return DIAGNOSTIC.finding(
            "inconclusive",
            "No weight matrix ever changes, so nothing was learned that a spike could undo.",
            SpikesEvidence(metric=curve.choice.name, points=len(curve)),
        )
    spikes = tuple(_described(analysis, curve, spike) for spike in loss_spikes(curve))
    lasting = [spike for spike in spikes if spike.recovered_step is None]
    state: State = "not recovered" if lasting else "recovered" if spikes else "none"
    evidence = SpikesEvidence(
        state=state, metric=curve.choice.name, points=len(curve), spikes=spikes
    )
    return _verdict(evidence)


def _described(analysis: Analysis, curve: LossCurve, spike: LossSpike) -> Spike:
    # The value at a snapshot is that of its weights, or of the steps before it: the jump lies in
    # the increments between the last quiet value and the peak.
    increments = range(int(curve.at[spike.before]), int(curve.at[spike.peak]))
    steps = analysis.description.steps[analysis.window.first :]
    return Spike(
        step=int(curve.steps[spike.at]),
        before_step=int(curve.steps[spike.before]),
        peak_step=int(curve.steps[spike.peak]),
        height=spike.height,
        of_gain=spike.of_gain,
        recovered_step=None if spike.over is None else int(curve.steps[spike.over]),
        layers=tuple(
            JumpOfLayer(name, int(steps[increment + 1]), times)
            for name, increment, times in jumping_layers(layer_grams(analysis), increments)
        ),
    )


def _verdict(evidence: SpikesEvidence) -> Finding:
    spikes, name = evidence.spikes, evidence.metric
    if not spikes:
        return DIAGNOSTIC.finding(
            "pass", f"No spike: {name} never rises suddenly.", evidence, value=0.0
        )
    worst = max(spikes, key=lambda spike: (spike.recovered_step is None, spike.of_gain))
    message = _sentence(worst, str(name))
    if len(spikes) > 1:
        others = [str(spike.step) for spike in spikes if spike is not worst]
        named = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        message += f" {len(spikes)} spikes in all, also at step {named}."
    if worst.recovered_step is None:
        action = Action("restore", step=worst.before_step)
        hint = "look at what changed there: the rate, a batch, the data"
    elif len(spikes) >= MANY:
        action = lower_rate()
        hint = "or clip gradients"
    else:
        action = Action()
        hint = "leave it if it stays the only one; clip gradients if it comes back"
    return DIAGNOSTIC.finding(
        "fail" if worst.recovered_step is None else "warn",
        message,
        evidence,
        value=worst.of_gain,
        hint=hint,
        action=action,
        criterion=Criterion(
            f"no sudden rise beyond {PART_OF_GAIN:.0%} of the gain",
            f"a rise of {worst.of_gain:.0%} of the gain at step {worst.step}",
            of_value=True,
        ),
    )


def _sentence(spike: Spike, name: str) -> str:
    """Return one spike in words: where, whether it is over, how high, and which layer first."""
    over = spike.recovered_step
    end = "not recovered" if over is None else f"recovered by step {over}"
    message = (
        f"Loss spike at step {spike.step}, {end}: {name} rises by {spike.height:.3g}, "
        f"{spike.of_gain:.0%} of what had been gained"
    )
    if spike.layers:
        first = spike.layers[0]
        message += f", and {first.layer} jumps first, to {first.times:.3g} times its usual change"
    return f"{message}."


DIAGNOSTIC = Diagnostic(
    id="spikes",
    code="KS202",
    title="Loss spikes",
    explanation=Explanation(
        asks="Did the loss rise suddenly, which layers jumped, and did the run recover?",
        matters=(
            "A spike that is not recovered from costs the rest of the budget; one that is "
            "hints at a rate near its limit, or at bad data."
        ),
        looks_at=(
            f"The recorded training loss: a value that lies above the median of the {BEFORE} "
            f"before by more than {DEVIATIONS:g} times their scatter and by more than "
            f"{PART_OF_GAIN:.0%} of what had been gained. Then the weight changes at that "
            "snapshot, layer by layer, against the usual ones. Without a training loss, the "
            "validation metric."
        ),
        to_do=(
            "Not recovered: go back to the weights before the spike, lower the rate or skip the "
            "batches there. Recovered: nothing; for several, clip gradients or lower the rate."
        ),
        accuracy=(
            "On runs of six held-out families it found 21 of 24 spikes that were put in (the other "
            "three ended in NaN), without a false alarm in 54 (three standard deviations: 24 and "
            "3), and was right about the recovery for 20 of 21: docs/evidence/rules.md."
        ),
        cannot_tell=(
            "It cannot see a spike that comes and goes between two recorded values, nor why it "
            "came. Where the loss scatters by itself as much as it spikes, it says nothing."
        ),
    ),
    ask=ask,
    unit="of the gain",
    threshold=PART_OF_GAIN,
)
