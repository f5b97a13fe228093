"""How many layers are enough? From one run, and from a sweep of runs that differ in depth.

Manojlovic et al. (2020) read the number of layers off spectra that stop changing as layers are
added; they publish no number, so ours were set on real sweeps. Looks at names only to count the
layers that are stacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.evidence import Evidence, shown_with
from koopscope.diagnostics.finding import Diagnostic, Explanation, Finding, usable
from koopscope.diagnostics.statistics import losses
from koopscope.diagnostics.statistics.layer_stack import Likeness, Stack, likeness, stack_of
from koopscope.diagnostics.statistics.trajectory import layer_grams
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES
from koopscope.spectra.geometry import Geometry, course

LEAST_SNAPSHOTS = 12
LEAST_RUNS = 3

#: A layer is redundant if its motion is this much like that of a layer before it.
ALIKE = 0.9

#: Excess loss, as part of the range between the best and the worst depth, that counts as none.
#: Anything from 0.3 to 0.5 gave the same suggestions on five of six tuning sweeps.
TOLERANCE = 0.35

#: The same for how far the motion came to rest, where no loss was recorded.
TOLERANCE_OF_REST = 0.5

#: Snapshots a loss is averaged over before its least value is taken.
SMOOTHED = 3


@dataclass(frozen=True)
class LayerLikeness:
    """How much one layer moves like a layer before it.

    Attributes
    ----------
    name
        The layer.
    likeness_to_earlier, most_like
        Similarity in time to the most similar layer before it, 1 for the same, and its name;
        ``None`` for the first layer.
    redundant
        Whether that similarity is above ``ALIKE``.
    travel
        Distance from the first weights over their norm.
    """

    name: str
    likeness_to_earlier: float | None
    most_like: str | None
    redundant: bool
    travel: float


@dataclass(frozen=True)
class DepthEvidence(Evidence):
    """What the answer rests on; depths count hidden layers or repeated blocks."""

    recorded_depth: int | None = None
    suggested_depth: int | None = None
    method: str = "distinct layer motions"
    layers: tuple[LayerLikeness, ...] = ()
    distinct_motions: float | None = field(default=None, metadata=shown_with("distinct_motions"))


def suggested_depth(stack: Stack) -> tuple[int, Likeness]:
    """Return the depth suggested from one run, and what it rests on."""
    similar = likeness(stack)
    return max(1, min(stack.depth, round(similar.distinct))), similar


def ask(analysis: Analysis) -> Finding:
    """Count the different motions among the layers of one run."""
    stack = stack_of(analysis)
    if stack is None or analysis.window.snapshots < LEAST_SNAPSHOTS:
        why = (
            "Fewer than two layers have weight matrices that changed"
            if stack is None
            else f"{usable(analysis.window.snapshots)} fewer than {LEAST_SNAPSHOTS}"
        )
        message = f"{why}, so depth cannot be judged."
        return DIAGNOSTIC.finding("inconclusive", message, DepthEvidence())
    suggested, similar = suggested_depth(stack)
    motions = similar.distinct
    evidence = DepthEvidence(
        recorded_depth=stack.depth,
        suggested_depth=suggested,
        distinct_motions=motions,
        layers=_layers(stack, similar),
    )
    built = float(stack.depth)
    if suggested >= stack.depth:
        layers = "The stacked layer" if stack.depth == 1 else f"All {stack.depth} stacked layers"
        message = (
            f"{layers} seem{'s' if stack.depth == 1 else ''} to be needed: the layers learn as if "
            f"there were {motions:.1f} independent ones."
        )
        return DIAGNOSTIC.finding("pass", message, evidence, value=motions, threshold=built)
    redundant = sum(layer.redundant for layer in evidence.layers)
    message = (
        f"Depth {suggested} may be enough: the {stack.depth} stacked layers learn as if "
        f"there were only {motions:.1f} independent ones"
    )
    if redundant:
        message += (
            f", and {redundant} of {len(stack.names)} learn"
            f"{'s' if redundant == 1 else ''} in step with an earlier one"
        )
    return DIAGNOSTIC.finding("info", message + ".", evidence, value=motions, threshold=built)


def _layers(stack: Stack, similar: Likeness) -> tuple[LayerLikeness, ...]:
    layers = []
    for index, (name, travel) in enumerate(zip(stack.names, stack.travels, strict=True)):
        nearest = float(similar.to_earlier[index])
        layers.append(
            LayerLikeness(
                name=name,
                likeness_to_earlier=nearest if index else None,
                most_like=stack.names[similar.most_like[index]] if index else None,
                redundant=bool(index and nearest > ALIKE),
                travel=travel,
            )
        )
    return tuple(layers)


def sweep(analyses: Sequence[Analysis]) -> dict[str, Any] | None:
    """Return the smallest depth beyond which nothing is gained, or ``None`` if this is no sweep.

    A sweep is at least three runs that read and write vectors of the same size and whose stacked
    layers differ in number, no two alike. With
    recorded losses, the least smoothed training and validation losses are compared; without, how
    far each run's motion came to rest.
    """
    if len(analyses) < LEAST_RUNS:
        return None
    stacks = [stack_of(analysis) for analysis in analyses]
    known = [(s.depth, a) for s, a in zip(stacks, analyses, strict=True) if s is not None]
    depths = [depth for depth, _ in known]
    if len(known) < len(analyses) or len(set(depths)) < len(depths):
        return None
    if len({_ends(analysis) for analysis in analyses}) > 1:
        return None
    ordered = sorted(known, key=lambda pair: pair[0])
    curves = _losses([analysis for _, analysis in ordered])
    tolerance = TOLERANCE
    if not curves:
        tolerance = TOLERANCE_OF_REST
        curves = {"rest": np.array([_rest(analysis) for _, analysis in ordered])}
    excess = np.mean([_excess(curve) for curve in curves.values()], axis=0)
    excess = excess - excess.min()
    chosen = int(np.flatnonzero(excess <= tolerance)[0])
    return {
        "kind": "depth",
        "method": "recorded losses" if "rest" not in curves else "motion at rest",
        "tolerance": tolerance,
        "suggested_depth": ordered[chosen][0],
        "suggested_run": ordered[chosen][1].description.path,
        "runs": [
            {
                "path": analysis.description.path,
                "depth": depth,
                "excess": float(excess[index]),
                **{name: float(curve[index]) for name, curve in curves.items()},
            }
            for index, (depth, analysis) in enumerate(ordered)
        ],
    }


def _ends(analysis: Analysis) -> tuple[tuple[int, ...], int]:
    """Return the shape of what the first matrix reads and the size of what the last one writes."""
    shapes = [t.shape for t in analysis.tensors if t.kind == "parameter" and len(t.shape) >= 2]
    return shapes[0][1:], shapes[-1][0]


def _excess(curve: Float64) -> Float64:
    span = float(curve.max() - curve.min())
    flat: Float64 = np.zeros_like(curve)
    return (curve - curve.min()) / span if span > 0.0 else flat


def _losses(analyses: Sequence[Analysis]) -> dict[str, Float64]:
    """Return every run's least smoothed loss, by kind; a kind that some run lacks is left out."""
    found = {}
    for kind, names in (("loss", TRAINING_LOSSES), ("val_loss", VALIDATION_LOSSES)):
        values = [
            losses.recorded(a.description.metrics, names, a.window.first, a.window.stop)
            for a in analyses
        ]
        least = [_least(value) for value in values if value is not None and len(value) > SMOOTHED]
        if len(least) == len(analyses):
            found[kind] = np.array(least)
    return found


def _least(loss: Float64) -> float:
    kernel = np.full(SMOOTHED, 1.0 / SMOOTHED)
    return float(np.convolve(loss[1:], kernel, "valid").min())


def _rest(analysis: Analysis) -> float:
    """log(speed at the end over mean speed), median over layers: the lower, the more at rest."""
    scopes = (Geometry(gram) for gram in layer_grams(analysis).values())
    speeds = [course(each)["speed"][-1] for each in scopes if each.path[-1] > 0.0]
    return float(np.median(speeds)) if speeds else 0.0


DIAGNOSTIC = Diagnostic(
    id="depth",
    code="KS401",
    title="Depth",
    explanation=Explanation(
        asks="How many of the stacked layers are enough?",
        matters="Layers that add nothing cost memory and time in every step of training and use.",
        looks_at=(
            "How alike the stacked layers change over time: a layer whose weights turn "
            "whenever those of another one turn adds nothing of its own. Several runs that "
            "differ in depth are a sweep; there, the smallest depth is named whose loss is "
            "close to the best."
        ),
        to_do=(
            "Try the suggested depth, or better, analyse runs of several depths together: "
            "koopscope analyze RUN RUN RUN."
        ),
        accuracy=(
            "Over 30 sweeps of depth 1 to 8, the suggestion from one run was within one layer "
            "for 73%, which a fixed guess of 2 beats (80%); from a sweep with losses it was "
            "for 87%: docs/evidence/diagnostics.md."
        ),
        cannot_tell=(
            "It cannot tell whether a deeper network would have learned more with other "
            "settings. From one run, take it as a hint."
        ),
    ),
    ask=ask,
    worse="lower",
    unit="independent layers",
)
