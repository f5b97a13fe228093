"""Which layers have come to rest, since when, and which are still on their way?

From the distances between snapshots, layer by layer. May not look at a loss; the recorded learning
rate is read only to say that a layer rests because the schedule ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, usable
from koopscope.diagnostics.statistics.standstill import (
    BALL,
    LayerRest,
    dead_since,
    layer_rests,
    rate_is_down,
)

State = Literal[
    "moving", "some at rest", "all at rest", "schedule ended", "dead", "still", "inconclusive"
]

LEAST_SNAPSHOTS = 12

#: A layer counts as at rest where it has been for this part of the run.
LONG = 0.25

_NAMED = 3


@dataclass(frozen=True)
class RestingLayer:
    """A layer that no longer moves.

    Attributes
    ----------
    layer
        Its name.
    why
        ``at rest`` inside a small ball, ``frozen`` from the start (no stored weight ever changed),
        ``stopped`` (no stored weight changes any more), ``dead`` with the network.
    since
        Step since when.
    """

    layer: str
    why: str
    since: int


@dataclass(frozen=True)
class RestEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    resting
        Layers that no longer move, in model order.
    moving
        Layers that are still on their way.
    ball
        A layer is at rest inside a ball of this part of its largest distance from the start.
    snapshots
        In the window.
    """

    state: State = "inconclusive"
    resting: tuple[RestingLayer, ...] = ()
    moving: tuple[str, ...] = ()
    ball: float = BALL
    snapshots: int = 0


def ask(analysis: Analysis) -> Finding:
    """Say of every layer whether it is at rest, and since when."""
    steps = analysis.description.steps[analysis.window.first : analysis.window.stop]
    evidence = RestEvidence(snapshots=len(steps))
    if len(steps) < LEAST_SNAPSHOTS:
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{usable(len(steps))} too few to say that a layer rests: it takes {LEAST_SNAPSHOTS}.",
            evidence,
            action=Action("record_more", count=LEAST_SNAPSHOTS),
        )
    layers = layer_rests(analysis)
    if not any(layer.moved for layer in layers):
        what = "changed" if analysis.finite_tensors else "is finite"
        return DIAGNOSTIC.finding(
            "inconclusive", f"No weight {what}, so there is no layer to come to rest.", evidence
        )
    dead = dead_since(analysis)
    if dead is not None:
        return _dead(layers, steps, dead)
    resting = tuple(
        RestingLayer(layer.name, why, int(steps[since]))
        for layer in layers
        for why, since in [_why(layer, len(steps))]
        if why is not None
    )
    names = {layer.layer for layer in resting}
    evidence = RestEvidence(
        state=_state(analysis, len(layers), resting),
        resting=resting,
        moving=tuple(layer.name for layer in layers if layer.name not in names),
        snapshots=len(steps),
    )
    return _verdict(evidence)


def _why(layer: LayerRest, snapshots: int) -> tuple[str | None, int]:
    """Return why a layer counts as resting, and since which snapshot; ``None`` where it moves."""
    if not layer.moved:
        return "frozen", 0
    enough = (1.0 - LONG) * (snapshots - 1)
    if layer.still_since <= enough:
        return "stopped", layer.still_since
    return ("at rest", layer.since) if layer.since <= enough else (None, snapshots - 1)


def _dead(layers: list[LayerRest], steps: npt.NDArray[np.int64], since: int) -> Finding:
    step, before = int(steps[since]), int(steps[max(0, since - 1)])
    evidence = RestEvidence(
        state="dead",
        resting=tuple(
            RestingLayer(layer.name, "dead", int(steps[layer.still_since]))
            for layer in layers
            if layer.still_since <= since
        ),
        moving=tuple(layer.name for layer in layers if layer.still_since > since),
        snapshots=len(steps),
    )
    when = "from the start" if since == 0 else f"since step {step}"
    changes = "ever changes" if since == 0 else "changes any more"
    return DIAGNOSTIC.finding(
        "fail",
        f"The network is dead {when}: no weight matrix {changes}, only biases do, so no signal "
        "gets through.",
        evidence,
        value=1.0,
        hint="a smaller bias or a scale for ReLU keeps units alive"
        if since == 0
        else "and lower the learning rate from there",
        action=Action("restart") if since == 0 else Action("restore", step=before),
        criterion=Criterion("weight matrices that change", f"none that does {when}"),
    )


def _state(analysis: Analysis, layers: int, resting: tuple[RestingLayer, ...]) -> State:
    own = [layer for layer in resting if layer.why != "frozen"]
    if not own:
        return "moving"
    first = int(np.searchsorted(_steps(analysis), max(layer.since for layer in own)))
    if rate_is_down(analysis, first):
        return "schedule ended"
    if len(resting) < layers:
        return "some at rest"
    return (
        "still" if all(layer.why in ("stopped", "frozen") for layer in resting) else "all at rest"
    )


def _steps(analysis: Analysis) -> npt.NDArray[np.int64]:
    return analysis.description.steps[analysis.window.first : analysis.window.stop]


def _verdict(evidence: RestEvidence) -> Finding:
    resting, moving = evidence.resting, evidence.moving
    count = len(resting) + len(moving)
    own = [layer for layer in resting if layer.why != "frozen"]
    frozen = [layer.layer for layer in resting if layer.why == "frozen"]
    as_meant = f" {_list(frozen)} never changed: frozen, it seems on purpose." if frozen else ""
    value = len(own) / count
    if not own:
        who = (
            "Every layer is" if not frozen else "Every other layer is" if moving else "No layer is"
        )
        return DIAGNOSTIC.finding(
            "pass", f"{who} still on its way.{as_meant}", evidence, value=value
        )
    names = [f"{layer.layer} (since step {layer.since})" for layer in own]
    if evidence.state == "schedule ended":
        message = (
            f"{len(own)} of {count} layers rest since the learning rate went down: that is not "
            "because they are done."
        )
        return DIAGNOSTIC.finding("info", message + as_meant, evidence, value=value)
    if evidence.state == "some at rest":
        message = (
            f"{len(own)} of {count} layers have come to rest: {_list(names)}; they can be frozen. "
            f"Still on their way: {_list(list(moving))}."
        )
        action = Action(
            "freeze",
            layers=tuple(layer.layer for layer in own),
            step=max(layer.since for layer in own),
        )
        hint = "freeze them to save their backward pass, or give them a smaller rate"
        return DIAGNOSTIC.finding(
            "info", message + as_meant, evidence, value=value, action=action, hint=hint
        )
    since = max(layer.since for layer in own)
    stands = "stand exactly still" if evidence.state == "still" else "are at rest"
    message = f"All layers that were trained {stands} since step {since}."
    return DIAGNOSTIC.finding(
        "info",
        message + as_meant,
        evidence,
        value=value,
        action=Action("stop", step=since),
        hint="training has ended, or the rate is zero" if evidence.state == "still" else None,
    )


def _list(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


DIAGNOSTIC = Diagnostic(
    id="rest",
    code="KS104",
    title="Layers at rest",
    explanation=Explanation(
        asks="Which layers have come to rest, since when, and which are still on their way?",
        matters=(
            "A layer at rest may be frozen, which saves its backward pass; a network of which "
            "only biases move is dead."
        ),
        looks_at=(
            f"Each layer's distance from where it ends. It is at rest once it stays within "
            f"{BALL:.0%} of its largest distance from the start, for a quarter of the run or "
            "more. A layer whose stored weights never change is called frozen as long as some "
            "weight matrix learns; where none does and biases still move, the network is dead. "
            "A recorded learning rate that went down explains a rest."
        ),
        to_do=(
            "Freeze the layers that are named, or give them a smaller rate. A dead network: "
            "restart, or go back to the step before it died, with a lower rate."
        ),
        accuracy=(
            "On runs of six held-out families all 75 layers called at rest stayed so while the run "
            "was trained on for a quarter as long, and 6 of 6 frozen layers were told from dead "
            "ones: docs/evidence/rules.md."
        ),
        cannot_tell=(
            "A layer at rest may be waiting for others and move on later. A layer that is "
            "frozen by an optimizer's settings and one that gets no gradient look alike as "
            "long as other matrices learn."
        ),
    ),
    ask=ask,
    unit="of the layers at rest",
)
