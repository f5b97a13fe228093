"""Is the motion that was stored the motion of the weights, or rounding?"""

from __future__ import annotations

from koopscope.analysis import Analysis
from koopscope.diagnostics.finding import Diagnostic, Finding

#: Share of moving entries that stand still between two snapshots from which on "near 1" may be
#: an artefact: at 0.86, bfloat16 turned |lambda| = 1.0050 into 1.0001 (Adam at 3e-5, toy network).
UNCHANGED_LIMIT = 0.5

#: Rounding error of an increment, as part of the median increment, from which on it is noise.
ROUNDING_LIMIT = 0.25


def ask(analysis: Analysis) -> Finding:
    """Compare every tensor's increments with what its stored dtype can resolve."""
    code, name = DIAGNOSTIC.code, DIAGNOSTIC.id
    if analysis.window.snapshots < 2:
        return Finding(
            name,
            code,
            "inconclusive",
            "One snapshot shows no motion, so its precision cannot be judged.",
        )
    motions = [analysis.motion(tensor.name, "tensor") for tensor in analysis.finite_tensors]
    moving = [motion for motion in motions if motion.path_length > 0.0]
    frozen = [motion.name for motion in motions if motion.path_length == 0.0]
    evidence = {
        "frozen_tensors": frozen,
        "tensors": {
            motion.name: {"unchanged": motion.unchanged, "rounding": motion.rounding}
            for motion in moving
        },
    }
    if not moving:
        return Finding(
            name,
            code,
            "inconclusive",
            f"None of the {len(motions)} tensors moved between any two snapshots.",
            evidence=evidence,
            hint="check that the recorded weights are those being trained",
        )
    weights = sum(motion.parameters for motion in moving)
    unchanged = sum(motion.unchanged * motion.parameters for motion in moving) / weights
    coarse = [
        motion.name
        for motion in moving
        if motion.unchanged > UNCHANGED_LIMIT or motion.rounding > ROUNDING_LIMIT
    ]
    evidence["coarse_tensors"] = coarse
    coarse_weights = sum(motion.parameters for motion in moving if motion.name in coarse)
    if coarse_weights * 2 > weights:
        return Finding(
            name,
            code,
            "warn",
            f"{len(coarse)} of {len(moving)} moving tensors, stored as "
            f"{analysis.description.dtype}, move too little to be resolved: on average "
            f"{unchanged:.0%} of the entries do not change between snapshots.",
            value=unchanged,
            threshold=UNCHANGED_LIMIT,
            unit="share of moving entries",
            hint="record float32 master weights, or snapshots further apart",
            evidence=evidence,
        )
    return Finding(
        name,
        code,
        "pass",
        f"Stored {analysis.description.dtype} resolves the motion: {unchanged:.1%} of the moving "
        "entries stand still between snapshots.",
        value=unchanged,
        threshold=UNCHANGED_LIMIT,
        unit="share of moving entries",
        evidence=evidence,
    )


DIAGNOSTIC = Diagnostic(
    id="precision",
    code="KS901",
    title="Stored precision",
    explanation=(
        "Snapshots in a coarse format (bfloat16, float16) can stand still although the weights "
        "move, which looks like convergence. Counts the entries that do not change from one "
        "snapshot to the next among those that ever change, and compares increments with the "
        "format's rounding error. Verdicts that rest on eigenvalues near 1 are withheld where "
        "most weights are affected."
    ),
    ask=ask,
)
