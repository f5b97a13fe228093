"""Is the motion that was stored the motion of the weights, or rounding?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.motion import Motion
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.evidence import Evidence, shown_with
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, Status

#: Share of moving entries that stand still between two snapshots from which on "near 1" may be
#: an artefact: at 0.86, bfloat16 turned |lambda| = 1.0050 into 1.0001 (Adam at 3e-5, toy network).
UNCHANGED_LIMIT = 0.5

#: Rounding error of an increment, as part of the median increment, from which on it is noise.
ROUNDING_LIMIT = 0.25

#: Below this, entries that stand still do so of themselves (dead units, inputs that are always
#: zero): on the sample runs, stored float32 rounds by 1e-4 of an increment at most, and bfloat16
#: of a slow run by 9 increments.
ROUNDING_THAT_HIDES = 0.01

#: Share of the moving weights from which on the network's own spectrum is affected.
COARSE_SHARE = 0.5


#: Rounding below this part of a change is over a million times smaller; up to one part in so many
#: it is told as a percentage.
_HARDLY = 1e-6
_SMALLER = 10.0


@dataclass(frozen=True)
class Resolution:
    """How well one tensor's motion is resolved.

    Attributes
    ----------
    unchanged
        Share of the entries that ever move which stand still between two snapshots.
    rounding
        Rounding error of an increment, as part of the median increment.
    """

    unchanged: float
    rounding: float


@dataclass(frozen=True)
class PrecisionEvidence(Evidence):
    """What the answer rests on: tensors that never moved, and those that did, by name."""

    frozen_tensors: tuple[str, ...] | None = field(
        default=None, metadata=shown_with("frozen_tensors")
    )
    tensors: Mapping[str, Resolution] | None = field(default=None, metadata=shown_with("tensors"))
    coarse_tensors: tuple[str, ...] | None = field(
        default=None, metadata=shown_with("coarse_tensors")
    )


def ask(analysis: Analysis) -> Finding:
    """Compare every tensor's increments with what its stored dtype can resolve."""
    if analysis.window.snapshots < 2:
        message = "One snapshot shows no change of the weights, so its precision cannot be judged."
        return DIAGNOSTIC.finding("inconclusive", message, PrecisionEvidence())
    motions = [analysis.motion(Scope("tensor", tensor.name)) for tensor in analysis.finite_tensors]
    moving = [motion for motion in motions if motion.path_length > 0.0]
    evidence = PrecisionEvidence(
        frozen_tensors=tuple(motion.name for motion in motions if motion.path_length == 0.0),
        tensors={
            motion.name: Resolution(unchanged=motion.unchanged, rounding=motion.rounding)
            for motion in moving
        },
    )
    if not moving:
        return DIAGNOSTIC.finding(
            "inconclusive",
            "No tensor changed between any two snapshots."
            if motions
            else "No tensor is finite, so the precision of the snapshots cannot be judged.",
            evidence,
            hint="check that the recorded weights are those being trained",
        )
    coarse = [motion.name for motion in moving if _is_coarse(motion)]
    evidence = replace(evidence, coarse_tensors=tuple(coarse))
    weights = sum(motion.parameters for motion in moving)
    share = sum(motion.parameters for motion in moving if motion.name in coarse) / weights
    unchanged = sum(motion.unchanged * motion.parameters for motion in moving) / weights
    rounding = max(motion.rounding for motion in moving)
    stored = f"Stored as {analysis.description.dtype}"
    status: Status = "pass"
    message = (
        f"{stored}, the snapshots are precise enough: {_beside_changes(rounding)} the change from "
        "one snapshot to the next."
    )
    hint = None
    if share > COARSE_SHARE:
        status = "warn"
        message = (
            f"{stored}, {len(coarse)} of {len(moving)} tensors are too coarse to show how they "
            f"change: rounding is up to {rounding:.2g} times the change between two snapshots, and "
            f"{unchanged:.0%} of the weights keep the same stored value from one to the next."
        )
        hint = "record float32 master weights, or snapshots further apart"
    criterion = Criterion(
        f"at most {COARSE_SHARE:.0%} of the moving weights stored too coarsely",
        f"{share:.0%}",
        of_value=True,
    )
    return DIAGNOSTIC.finding(
        status, message, evidence, value=share, hint=hint, criterion=criterion
    )


def _beside_changes(rounding: float) -> str:
    """Return how large the rounding is, before "the change from one snapshot to the next"."""
    if rounding < _HARDLY:
        return "rounding is over a million times smaller than"
    times = float(f"{1.0 / rounding:.1g}")
    if times < _SMALLER:
        return f"rounding is up to {rounding:.0%} of"
    return f"rounding is {times:,.0f} times smaller than"


def _is_coarse(motion: Motion) -> bool:
    hidden = motion.unchanged > UNCHANGED_LIMIT and motion.rounding > ROUNDING_THAT_HIDES
    return hidden or motion.rounding > ROUNDING_LIMIT


DIAGNOSTIC = Diagnostic(
    id="precision",
    code="KS901",
    title="Stored precision",
    explanation=Explanation(
        asks="Are the snapshots stored precisely enough to show how the weights change?",
        matters=(
            "In a coarse format (bfloat16, float16) weights can seem to stand still while "
            "they move, which looks like convergence."
        ),
        looks_at=(
            "The weights that keep their stored value from one snapshot to the next, among "
            "those that ever change, and the format's rounding error beside the size of the "
            "changes."
        ),
        to_do="Record float32 master weights, or take snapshots further apart.",
        accuracy=(
            "The rounding error is computed from the format. The limits were set on sample "
            "runs: float32 rounds by at most 1e-4 of a change there, bfloat16 of a slow run "
            "by 9 changes."
        ),
        cannot_tell=(
            "It cannot tell weights that stand still by themselves (dead units) from weights "
            "that rounding holds, except by the size of the rounding. Verdicts that need "
            "finer changes are withheld where most weights are affected."
        ),
    ),
    ask=ask,
    unit="share of the moving weights that are stored too coarsely",
    threshold=COARSE_SHARE,
)
