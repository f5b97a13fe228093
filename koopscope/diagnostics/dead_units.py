"""Which units no longer learn although their layer does, and which adapters add nothing?

A unit is dead where neither its incoming weights nor its bias move in the last quarter of a run
while other units of the same tensor do. Low-rank adapters are judged as the product B A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import (
    Criterion,
    Diagnostic,
    Explanation,
    Finding,
    Status,
    usable,
)
from koopscope.diagnostics.statistics.standstill import dead_since
from koopscope.diagnostics.statistics.unit_motion import (
    ROUNDING,
    Adapter,
    LayerUnits,
    adapters,
    looked_at,
    unit_layers,
)
from koopscope.runs.sketches import STILL

State = Literal["none", "some", "many", "adapters do not train", "inconclusive"]

LEAST_SNAPSHOTS = 8

#: Dead part of one layer's units from which on a run is warned of, and from which on it fails.
#: Networks that learn well lose up to 44% of a layer in the sample runs.
DEAD_PART, LOST_PART = 0.5, 0.8

_NAMED = 3


@dataclass(frozen=True)
class DeadUnits:
    """The units of one tensor.

    Attributes
    ----------
    tensor
        Its name.
    units, dead, never_moved
        How many it has, how many stand still in the last quarter, and how many of those stood
        still in the first quarter, too.
    indices
        Of the dead ones, the first 64; none where a sketch only counted them.
    """

    tensor: str
    units: int
    dead: int
    never_moved: int
    indices: tuple[int, ...]


@dataclass(frozen=True)
class IdleAdapter:
    """A low-rank pair that adds nothing (``zero`` names the half that is) or does not change."""

    first: str
    second: str
    zero: str | None


@dataclass(frozen=True)
class DeadUnitsEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    layers
        Tensors with dead units, in model order.
    looked_at, units
        Tensors whose units were told apart, and how many units were looked at.
    sampled
        Of those tensors, how many had only a sample of their units looked at.
    not_told_apart
        Tensors whose units were not: of a sample or a sketch, or too coarsely stored, or still.
    adapters, idle_adapters
        How many low-rank pairs there are, and those that do not train.
    still_below
        A unit stands still where it turns by less than this part of its layer's root mean square.
    """

    state: State = "inconclusive"
    layers: tuple[DeadUnits, ...] = ()
    looked_at: int = 0
    units: int = 0
    sampled: int = 0
    not_told_apart: int = 0
    adapters: int = 0
    idle_adapters: tuple[IdleAdapter, ...] = ()
    still_below: float = STILL


def ask(analysis: Analysis) -> Finding:
    """Count the units of every layer that stand still, and the adapters that do not train."""
    snapshots = analysis.window.snapshots
    if snapshots < LEAST_SNAPSHOTS:
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{usable(snapshots)} too few to call a unit dead: it takes {LEAST_SNAPSHOTS}.",
            DeadUnitsEvidence(),
            action=Action("record_more", count=LEAST_SNAPSHOTS),
        )
    pairs, layers = adapters(analysis), unit_layers(analysis)
    idle = tuple(
        IdleAdapter(pair.first, pair.second, pair.zero) for pair in pairs if not pair.trains
    )
    dead = tuple(_counted(layer) for layer in layers if layer.dead)
    part = max((layer.dead / layer.units for layer in dead), default=0.0)
    state: State = "many" if part >= DEAD_PART else "some" if dead else "none"
    if idle:
        state = "adapters do not train"
    elif not layers and not pairs:
        state = "inconclusive"
    evidence = DeadUnitsEvidence(
        state=state,
        layers=dead,
        looked_at=len(layers),
        units=sum(layer.units for layer in layers),
        sampled=sum(layer.sampled for layer in layers),
        not_told_apart=sum(1 for _ in looked_at(analysis)) - len(layers),
        adapters=len(pairs),
        idle_adapters=idle,
    )
    since = dead_since(analysis) if state == "inconclusive" else None
    if since is not None:
        return _of_a_dead_network(analysis, evidence, since)
    if state == "inconclusive":
        return _nothing_to_judge(analysis, evidence)
    return _of_adapters(evidence, pairs) if idle else _of_units(evidence, part)


def _counted(layer: LayerUnits) -> DeadUnits:
    return DeadUnits(
        tensor=layer.tensor,
        units=layer.units,
        dead=layer.dead,
        never_moved=layer.never_moved,
        indices=layer.indices,
    )


def _of_a_dead_network(analysis: Analysis, evidence: DeadUnitsEvidence, since: int) -> Finding:
    before = int(analysis.description.steps[analysis.window.first + max(0, since - 1)])
    return DIAGNOSTIC.finding(
        "fail",
        "No unit learns any more: no weight matrix of the network changes, only biases do.",
        replace(evidence, state="many"),
        value=1.0,
        hint="the finding on layers at rest says since when",
        action=Action("restore", step=before) if since else Action("restart"),
        criterion=Criterion(f"at most {DEAD_PART:.0%} of a layer's units dead", "all of them"),
    )


def _nothing_to_judge(analysis: Analysis, evidence: DeadUnitsEvidence) -> Finding:
    window = analysis.window
    if next(looked_at(analysis), None) is None:
        message = "No weight matrix was recorded whose units could be dead."
    elif window.snapshots < analysis.description.snapshots:
        message = (
            "Units are told apart over a whole run only, and this is "
            f"{window.snapshots} of its {analysis.description.snapshots} snapshots."
        )
    elif analysis.description.sketch is not None:
        message = (
            "Units were not counted while the sketch was recorded, or not in one go from its "
            "start, or no weight matrix moves enough at the end to tell them apart."
        )
    elif all(analysis.grams[each.name].units is None for each in looked_at(analysis)):
        message = "Units cannot be told apart in a sample of the weights."
    else:
        message = (
            "No weight matrix moves enough at the end, beside how it is stored, to tell its units "
            "apart."
        )
    return DIAGNOSTIC.finding("inconclusive", message, evidence)


def _of_units(evidence: DeadUnitsEvidence, part: float) -> Finding:
    layers = evidence.layers
    if not layers:
        rest = ""
        if evidence.not_told_apart:
            matrices = evidence.not_told_apart + evidence.looked_at
            rest = f" (those of {evidence.not_told_apart} of {matrices} matrices cannot be told)"
        return DIAGNOSTIC.finding(
            "pass", f"No dead unit: all {evidence.units:,} still learn{rest}.", evidence, value=0.0
        )
    worst = max(layers, key=lambda layer: layer.dead / layer.units)
    dead, never = sum(layer.dead for layer in layers), sum(layer.never_moved for layer in layers)
    message = (
        f"{dead} of {evidence.units:,} units no longer learn: {worst.dead} of {worst.units} in "
        f"{worst.tensor}"
    )
    message += f"; {never} of all never did." if never else "."
    status: Status = "info"
    hint, action = None, Action()
    if part >= DEAD_PART:
        status = "fail" if part >= LOST_PART else "warn"
        from_start = 2 * worst.never_moved >= worst.dead
        names = tuple(layer.tensor for layer in layers if layer.dead >= DEAD_PART * layer.units)
        action = (
            Action("restart", layers=names) if from_start else replace(lower_rate(), layers=names)
        )
        hint = (
            "look at the initialization of those layers (a smaller bias, a scale for ReLU)"
            if from_start
            else "they died while training: lower the rate, clip gradients, or use a leaky ReLU"
        )
    return DIAGNOSTIC.finding(
        status,
        message,
        evidence,
        value=part,
        hint=hint,
        action=action,
        criterion=Criterion(
            f"at most {DEAD_PART:.0%} of a layer's units dead",
            f"{part:.0%} of {worst.tensor}",
            of_value=True,
        ),
    )


def _of_adapters(evidence: DeadUnitsEvidence, pairs: list[Adapter]) -> Finding:
    idle = evidence.idle_adapters
    named = [
        f"{pair.zero} is zero" if pair.zero else f"{pair.second} stands still" for pair in idle
    ]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    status: Status = "fail" if len(idle) == len(pairs) else "warn"
    return DIAGNOSTIC.finding(
        status,
        f"{len(idle)} of {len(pairs)} low-rank adapters do not train: "
        f"{', '.join(named[:_NAMED])} throughout{more}, so they add nothing new.",
        evidence,
        value=len(idle) / len(pairs),
        hint="check that the optimizer got both halves of each adapter and that its rate is not 0",
        action=Action("restart", layers=tuple(pair.second for pair in idle)),
        criterion=Criterion("adapters whose product B A changes", f"{len(idle)} that do not"),
    )


DIAGNOSTIC = Diagnostic(
    id="dead-units",
    code="KS302",
    title="Dead units",
    explanation=Explanation(
        asks="Which units no longer learn while their layer does, and which adapters add nothing?",
        matters=(
            "A unit that gets no gradient is capacity that is paid for and not used; a layer "
            "that lost most of its units limits the whole network."
        ),
        looks_at=(
            "For each row of a weight matrix (the last axis of a Keras kernel): by how much its "
            "direction and its bias changed in the last quarter of the run. It counts as dead "
            f"below {STILL:g} of what the layer's units turned on average; growing or shrinking "
            "along itself, as weight decay does, is no motion. Lookup tables and norms are left "
            "out. Of low-rank adapters (lora_A, lora_B) it asks whether the product B A changes."
        ),
        to_do=(
            "Never moved: look at the initialization of the layer. Died while training: lower "
            "the rate, clip gradients, or use an activation that keeps a gradient. Adapters: "
            "check that the optimizer got both halves."
        ),
        accuracy=(
            "On runs of six held-out families it found 12 of 12 layers with killed units, all 280 "
            "of the units and no other, without a false alarm on 24 healthy runs; 2 of 2 idle "
            "adapters: docs/evidence/rules.md."
        ),
        cannot_tell=(
            "A unit that is dead for the training data alone is not told from one that is dead "
            "for all. Adam with weight decay inside its gradient (not AdamW) moves dead units "
            "all the same, and hides them. Snapshots stored so coarsely that rounding is more "
            f"than {ROUNDING:.0%} of a change are not judged."
        ),
    ),
    ask=ask,
    unit="of a layer's units",
    threshold=DEAD_PART,
)
