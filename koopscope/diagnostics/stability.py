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
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.evidence import StatedEvidence, shown_with
from koopscope.diagnostics.finding import (
    Criterion,
    Diagnostic,
    Explanation,
    Finding,
    Status,
    usable,
)
from koopscope.diagnostics.statistics.progress import ended_at_its_best
from koopscope.diagnostics.statistics.trajectory import RANK, trained_network
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.geometry import WINDOW, Geometry, course
from koopscope.spectra.gram import SnapshotGram

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

#: What far motion alone is called; it did no harm where the recorded loss ended near its best.
FORGIVEN = ("blown up", "wandering")

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
    network = trained_network(analysis)
    broken = break_of(analysis)
    if broken is not None:
        evidence = replace(evidence, state="growing" if broken.grew else "broken off")
        criterion = Criterion("finite weights", f"NaN or infinite from step {broken.next_step} on")
        return DIAGNOSTIC.finding(
            "fail",
            f"{broken.message}.",
            evidence,
            hint=broken.hint,
            criterion=criterion,
            action=broken.action,
        )
    if len(steps) < LEAST_SNAPSHOTS:
        message = f"{usable(len(steps))} too few to judge stability: it takes {LEAST_SNAPSHOTS}."
        action = Action("record_more", count=LEAST_SNAPSHOTS)
        return DIAGNOSTIC.finding("inconclusive", message, evidence, action=action)
    if network is None or network.path_length() <= 0.0:
        what = "changed" if analysis.finite_tensors else "is finite"
        message = f"No weight {what}, so stability cannot be judged."
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
    return _verdict(state, motion, evidence, state in FORGIVEN and ended_at_its_best(analysis))


_HINT = "clipping gradients may do as well"
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
        return Criterion(
            f"changes that become at most {GROWING_MAGNITUDE:g} times as large from one snapshot "
            "to the next",
            f"{motion.growing:.3g} times",
        )
    if state == "blown up":
        return Criterion(
            f"weights of at most {np.exp(BLOWN_UP):.2g} times their initial size",
            f"{np.exp(motion.growth):.3g} times",
        )
    if state == "wandering":
        part = max(part for part, far in WANDERING if motion.travel > far)
        return Criterion(
            f"at least {part:.0%} of the way leads somewhere", f"{motion.directness:.0%} does"
        )
    if state in ("oscillating", "edge of stability"):
        return Criterion(
            f"changes that the next ones do not undo (mean cosine of at least {ALTERNATING:g})",
            f"a mean cosine of {motion.cosine:.2f}",
            of_value=True,
        )
    return None


def _together(cosine: float) -> str:
    """Return in words where successive changes point, after "successive ones"."""
    if cosine > 0.5:
        return "point mostly the same way"
    if cosine > 0.1:
        return "point more forward than back"
    if cosine > -0.1:
        return "have no direction in common"
    return "undo each other in part"


_AND = {
    "edge of stability": " but still make progress: the learning rate is at the edge of stability",
    "oscillating": " and make no progress: what one change does the next one undoes",
}


def _verdict(
    state: State, motion: Steadiness, evidence: StabilityEvidence, learned: bool
) -> Finding:
    if state == "growing":
        message = (
            "The weights run away: their changes become "
            f"{motion.growing:.3g} times as large from one snapshot to the next (up to "
            f"{GROWING_MAGNITUDE:g} times is no growth)"
        )
    elif state == "blown up":
        message = (
            f"The weights were thrown far out: to {np.exp(motion.growth):.1f} times their initial "
            f"size (up to {np.exp(BLOWN_UP):.1f} times is usual), where they hardly change any more"
        )
    elif state == "wandering":
        message = (
            "The weights move far without getting anywhere: only "
            f"{motion.directness:.0%} of their way leads somewhere, and they end "
            f"{np.exp(motion.travel):.1f} times their initial size away from the start"
        )
    elif state == "stable":
        message = (
            "Steady: the weight changes neither grow nor swing back and forth; successive ones "
            f"{_together(motion.cosine)} (mean cosine {motion.cosine:.2f})"
        )
    else:
        message = (
            f"The weights swing back and forth{_AND[state]} (successive changes have a mean cosine "
            f"of {motion.cosine:.2f}, every other one of {motion.cosine_of_second:.2f})"
        )
    status = _STATUS[state]
    if learned:
        status = "info"
        message += "; the recorded loss fell all the same, and ends near its best"
    return DIAGNOSTIC.finding(
        status,
        message + ".",
        evidence,
        value=motion.cosine,
        hint=_HINT if status in ("warn", "fail") else None,
        criterion=None if learned else _criterion(state, motion),
        action=lower_rate() if status in ("warn", "fail") else None,
    )


DIAGNOSTIC = Diagnostic(
    id="stability",
    code="KS201",
    title="Stability",
    explanation=Explanation(
        asks="Is the learning rate one that the run can bear?",
        matters=(
            "A rate that is too high throws the weights about or ends in NaN; the run has to "
            "be repeated."
        ),
        looks_at=(
            "The weight changes between the last 16 snapshots: a pattern that grows from "
            "snapshot to snapshot; changes that flip back and forth, which is harmless (the "
            "edge of stability) as long as they still make progress; motion that goes far and "
            "leads nowhere; weights that jumped far out and stay there; weights that become "
            "NaN or infinite. Noise around a minimum is no instability: it gives successive "
            "changes a cosine of -0.5 and every other one 0. Weights that went far or jumped are "
            "no fault where a recorded loss fell and ends near its best."
        ),
        to_do=(
            "Lower the learning rate, or clip gradients. At the edge of stability nothing has "
            "to be done."
        ),
        accuracy=(
            "From the weights alone, of the held-out runs with default starts, 6 of 7 that failed "
            "at thirty times the usual rate were flagged, 1 of 6 that learned all the same, and "
            "none of 134 at up to five times the rate: docs/evidence/diagnostics.md."
        ),
        cannot_tell=(
            "It cannot see oscillations that are faster than the snapshots; record every step "
            "for a while to see them."
        ),
    ),
    ask=ask,
    worse="lower",
    unit="mean cosine of successive weight changes",
    threshold=ALTERNATING,
)
