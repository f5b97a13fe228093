"""Is the learning rate one the run can bear? Growing, oscillating and wandering motion.

Gradient descent on a quadratic has increments with eigenvalues 1 - rate x curvature: below -1 it
grows, near -1 it oscillates (the edge of stability of Cohen et al., ICLR 2021), and the noise of
minibatches makes motion without a direction. May not look at a run's name, family or metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.evidence import StatedEvidence, shown_with
from koopscope.diagnostics.finding import Criterion, Diagnostic, Finding, Status, usable
from koopscope.diagnostics.statistics.trajectory import RANK, layer_grams
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.geometry import WINDOW, Geometry, course
from koopscope.spectra.gram import SnapshotGram, total

State = Literal[
    "stable",
    "edge of stability",
    "oscillating",
    "wandering",
    "blown up",
    "growing",
    "broken off",
]

LEAST_SNAPSHOTS = 12

#: A mode grows if its eigenvalue is above, its residual below, its share above these.
GROWING_MAGNITUDE, GROWING_RESIDUAL, GROWING_SHARE = 1.02, 0.2, 0.5

#: Increments alternate where the mean cosine of successive ones is below the first of these and
#: that of every other one above the second. Noise about a fixed point has -0.5 and 0.
ALTERNATING, RETURNING = -0.4, 0.3

#: Oscillation that still covers this part of its way is progress at the edge of stability.
PROGRESS = 0.12

#: Motion wanders where it covers less than such a part of its way, although it travelled further
#: than so much (as log of distance over the first norm). Of the tuning runs at up to twice their
#: task's own rate none did, of the eight that failed at thirty times it four (the others blew up).
WANDERING = ((0.1, -0.5), (0.2, 1.1))

#: Weights that grew by more than the first (logarithm of the norm's growth) and slowed to less
#: than the second (logarithm of speed over mean speed) were thrown out and came to rest there.
BLOWN_UP, AT_REST = 1.5, -1.2

#: Root mean square of the first weights below which growing is no sign of a high rate.
TINY = 1e-3


@dataclass(frozen=True)
class Eigenvalue:
    """One eigenvalue, per snapshot."""

    re: float
    im: float


@dataclass(frozen=True)
class StabilityEvidence(StatedEvidence):
    """What the answer rests on; numbers are of the last snapshot, and of the whole network.

    Attributes
    ----------
    snapshots
        In the window.
    cosine, cosine_of_second
        Mean cosine between successive increments, and between every other one.
    directness
        Distance from the start over the length of the way.
    travel, growth
        Distance from the start, and the present norm, each over the first norm.
    growing_eigenvalue
        Largest magnitude of a mode that grows, ``None`` where none does.
    turning_eigenvalue
        The slowest mode that changes sign at every snapshot, ``None`` where none does.
    """

    state: State | None = None
    snapshots: int = 0
    cosine: float | None = field(default=None, metadata=shown_with("cosine"))
    cosine_of_second: float | None = field(default=None, metadata=shown_with("cosine"))
    directness: float | None = field(default=None, metadata=shown_with("cosine"))
    travel: float | None = field(default=None, metadata=shown_with("cosine"))
    growth: float | None = field(default=None, metadata=shown_with("cosine"))
    growing_eigenvalue: float | None = field(default=None, metadata=shown_with("cosine"))
    turning_eigenvalue: Eigenvalue | None = field(default=None, metadata=shown_with("cosine"))


@dataclass(frozen=True)
class Steadiness:
    """The numbers that stability is drawn from.

    ``travel``, ``growth`` and ``speed`` are logarithms; see ``koopscope.spectra.geometry.course``.
    """

    cosine: float
    cosine_of_second: float
    directness: float
    travel: float
    growth: float
    speed: float
    first_scale: float
    slowest_turn: complex | None
    growing: float | None


def steadiness_of(network: SnapshotGram, spectrum: Spectrum) -> Steadiness:
    """Return the numbers for a network and the spectrum of its last increments."""
    geometry = Geometry(network)
    last = {name: float(values[-1]) for name, values in course(geometry).items()}
    second = np.diagonal(geometry.cosines, 2)[-WINDOW:]
    turning = [z for z in spectrum.eigenvalues if z.real < 0.0]
    growing = [
        float(magnitude)
        for magnitude, residual, share in zip(
            spectrum.magnitudes, spectrum.residuals, spectrum.shares, strict=True
        )
        if magnitude > GROWING_MAGNITUDE and residual < GROWING_RESIDUAL and share > GROWING_SHARE
    ]
    return Steadiness(
        cosine=last["cosine"],
        cosine_of_second=float(second.mean()) if len(second) else 0.0,
        directness=last["directness_all"],
        travel=last["travel"],
        growth=last["growth"],
        speed=last["speed"],
        first_scale=float(np.sqrt(max(network.anchor_square, 0.0) / network.size)),
        slowest_turn=complex(max(turning, key=abs)) if turning else None,
        growing=max(growing, default=None),
    )


def stability_state(motion: Steadiness) -> State:
    """Name what the numbers show, worst first."""
    if motion.growing is not None and motion.speed > 0.0:
        return "growing"
    if motion.growth > BLOWN_UP and motion.speed < AT_REST and motion.first_scale > TINY:
        return "blown up"
    if any(motion.directness < part and motion.travel > far for part, far in WANDERING):
        return "wandering"
    if motion.cosine < ALTERNATING and motion.cosine_of_second > RETURNING:
        return "edge of stability" if motion.directness > PROGRESS else "oscillating"
    return "stable"


def ask(analysis: Analysis) -> Finding:
    """Look for growing, alternating and aimless motion of the network."""
    steps = analysis.description.steps[analysis.window.first : analysis.window.stop]
    evidence = StabilityEvidence(snapshots=len(steps))
    layers = layer_grams(analysis)
    network = total(layers.values()) if layers else None
    broken = break_of(analysis)
    if broken is not None:
        evidence = replace(evidence, state="growing" if broken.grew else "broken off")
        criterion = Criterion("finite weights", f"not finite from step {broken.next_step} on")
        return DIAGNOSTIC.finding(
            "fail", f"{broken.message}.", evidence, hint=broken.hint, criterion=criterion
        )
    if len(steps) < LEAST_SNAPSHOTS:
        message = f"{usable(len(steps))} too few: it takes {LEAST_SNAPSHOTS}."
        return DIAGNOSTIC.finding("inconclusive", message, evidence)
    if network is None or network.path_length() <= 0.0:
        what = "moved" if analysis.finite_tensors else "is finite"
        message = f"No weight {what}, so nothing can be unstable."
        return DIAGNOSTIC.finding("inconclusive", message, evidence)
    recent = network.window(max(0, len(steps) - WINDOW), len(steps))
    spectrum = dmd(recent, "increments", rank=RANK, spacing_steps=analysis.window.spacing_steps)
    motion = steadiness_of(network, spectrum)
    state = stability_state(motion)
    turn = motion.slowest_turn
    evidence = StabilityEvidence(
        state=state,
        snapshots=len(steps),
        cosine=motion.cosine,
        cosine_of_second=motion.cosine_of_second,
        directness=motion.directness,
        travel=float(np.exp(motion.travel)),
        growth=float(np.exp(motion.growth)),
        growing_eigenvalue=motion.growing,
        turning_eigenvalue=None if turn is None else Eigenvalue(turn.real, turn.imag),
    )
    return _verdict(state, motion, evidence)


_HINT = "lower the learning rate"
_STATUS: dict[State, Status] = {
    "stable": "pass",
    "edge of stability": "info",
    "oscillating": "warn",
    "wandering": "warn",
    "blown up": "fail",
    "growing": "fail",
    "broken off": "fail",
}


def _criterion(state: State, motion: Steadiness) -> Criterion | None:
    """Return the limit that the state was called by; ``None`` where it is the finding's own."""
    if state == "growing" and motion.growing is not None:
        return Criterion.number(
            motion.growing, GROWING_MAGNITUDE, "higher", "as the largest |eigenvalue| per snapshot"
        )
    if state == "blown up":
        return Criterion.number(
            float(np.exp(motion.growth)), float(np.exp(BLOWN_UP)), "higher", "times the first norm"
        )
    if state == "wandering":
        part = max(part for part, far in WANDERING if motion.travel > far)
        return Criterion.number(
            motion.directness, part, "lower", "of the way as distance from the start"
        )
    return None


def _verdict(state: State, motion: Steadiness, evidence: StabilityEvidence) -> Finding:
    around = f"mean cosine of successive increments {motion.cosine:.2f}"
    if state == "growing":
        message = (
            f"A mode of the increments grows: |eigenvalue| {motion.growing:.3f} per snapshot, "
            f"above {GROWING_MAGNITUDE}"
        )
    elif state == "blown up":
        message = (
            f"The weights were thrown to {np.exp(motion.growth):.1f} times their first norm (at "
            f"most {np.exp(BLOWN_UP):.1f} is usual) and rest there"
        )
    elif state == "wandering":
        message = (
            f"Far but aimless motion: {motion.directness:.0%} of the way is distance from the "
            f"start, which is {np.exp(motion.travel):.1f} times the first norm"
        )
    elif state == "stable":
        message = f"No growing and no alternating motion ({around})"
    else:
        title = "Edge of stability" if state == "edge of stability" else "Oscillating"
        message = (
            f"{title}: increments alternate ({around}, every other {motion.cosine_of_second:.2f})"
        )
    status = _STATUS[state]
    return DIAGNOSTIC.finding(
        status,
        message + ".",
        evidence,
        value=motion.cosine,
        hint=_HINT if status in ("warn", "fail") else None,
        criterion=_criterion(state, motion),
    )


DIAGNOSTIC = Diagnostic(
    id="stability",
    code="KS201",
    title="Stability",
    explanation=(
        "Reads the last increments: a mode that grows, increments that alternate (eigenvalues near "
        "-1, the edge of stability while the run still makes progress), motion that goes far but "
        "nowhere, weights that were thrown far out, and weights that stop being finite, with "
        "growth before or out of the blue. Noise about a minimum is no instability: "
        "its successive increments have a cosine of -0.5. Snapshots further apart than the "
        "oscillation hide it; record every step for a while to see it."
    ),
    ask=ask,
    worse="lower",
    unit="mean cosine of successive increments",
    threshold=ALTERNATING,
)
