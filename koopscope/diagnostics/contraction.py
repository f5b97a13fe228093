"""Questions for a run of iterates: is the operator a contraction, how deep, what would be faster?

Asked of runs whose tensors are states (hidden states of an iterated layer), not weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.evidence import Evidence, StatedEvidence, shown_with
from koopscope.diagnostics.finding import Diagnostic, Explanation, Finding, Status
from koopscope.errors import KoopscopeError
from koopscope.spectra.gram import total
from koopscope.spectra.iterates.acceleration import iterations_worth
from koopscope.spectra.iterates.contraction import Contraction, Iterations, State, contraction
from koopscope.spectra.rounding import increment_variance

#: Relative to the first iterate's distance from the fixed point.
TOLERANCES = (1e-3, 1e-6)

#: What leaves more than this of an increment is not worth mentioning.
LITTLE = 0.9

#: A relaxed factor must save this part of the iterations to be worth advising.
WORTHWHILE = 0.1


@dataclass(frozen=True)
class ContractionEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    factor, interval
        Magnitude of the leading eigenvalue per iteration, and what it lies in.
    largest_ratio
        Of the lengths of successive increments.
    iterates
        Used: those that move by more than rounding.
    """

    state: State = "inconclusive"
    factor: float | None = field(default=None, metadata=shown_with("factor"))
    interval: tuple[float, float] | None = field(default=None, metadata=shown_with("interval"))
    largest_ratio: float | None = field(default=None, metadata=shown_with("largest_ratio"))
    iterates: int | None = field(default=None, metadata=shown_with("iterates"))

    @property
    def value_interval(self) -> tuple[float, float] | None:
        """The interval of the factor."""
        return self.interval


@dataclass(frozen=True)
class NeededIterations:
    """Iterations to a tolerance, ``None`` where no number of them is enough."""

    tolerance: float
    iterations: float | None


@dataclass(frozen=True)
class IterationsEvidence(Evidence):
    """What the answer rests on: recorded iterations above rounding, and those needed."""

    usable: int | None = None
    needed: tuple[NeededIterations, ...] = ()


@dataclass(frozen=True)
class Relaxed:
    """A relaxation weight and the factor it gives."""

    weight: float
    factor: float


@dataclass(frozen=True)
class AccelerationEvidence(Evidence):
    """What the answer rests on: the best relaxation of all, and of those that damp."""

    relaxation: Relaxed | None = None
    damped: Relaxed | None = field(default=None, metadata=shown_with("damped"))


def has_states(analysis: Analysis) -> bool:
    """Whether the run holds iterates of an operator."""
    return any(tensor.kind == "state" for tensor in analysis.finite_tensors)


def contraction_of(analysis: Analysis, tolerances: Sequence[float] = TOLERANCES) -> Contraction:
    """Return what the run's iterates tell of their operator: all state tensors as one vector.

    Raises
    ------
    KoopscopeError
        If the run holds weights, or too few iterates.
    """
    path = analysis.description.path
    states = [tensor for tensor in analysis.finite_tensors if tensor.kind == "state"]
    if not states:
        raise KoopscopeError(
            f"{path} holds weights, not iterates of an operator",
            'record hidden states with Recorder(path, states=["*"]), one snapshot per iteration',
        )
    grams = [analysis.gram(Scope("tensor", tensor.name)) for tensor in states]
    square = sum(
        increment_variance(tensor.dtype, float(np.diagonal(gram.raw()).max()))
        for tensor, gram in zip(states, grams, strict=True)
    )
    return contraction(total(grams), math.sqrt(max(square, 0.0)), tolerances)


def _asked(
    diagnostic: Diagnostic,
    analysis: Analysis,
    answer: Callable[[Contraction], Finding],
    evidence: Evidence,
) -> Finding:
    try:
        found = contraction_of(analysis)
    except KoopscopeError as error:
        message = error.message[0].upper() + error.message[1:] + "."
        return diagnostic.finding("inconclusive", message, evidence, hint=error.hint)
    return answer(found)


def ask_contraction(analysis: Analysis) -> Finding:
    """Say whether the operator is a contraction along its iterates."""
    return _asked(CONTRACTION, analysis, contraction_finding, ContractionEvidence())


def contraction_finding(found: Contraction) -> Finding:
    """Put the state of a contraction into words."""
    fixed = found.fixed
    low, high = fixed.interval
    factor = f"factor {fixed.factor:.4g} in [{low:.4g}, {high:.4g}]"
    ratio = f"largest ratio of successive increments {fixed.largest_ratio:.4g}"
    words: dict[State, tuple[Status, str, str | None]] = {
        "contracting": ("pass", f"The operator contracts: {factor}, {ratio}.", None),
        "eventually_contracting": (
            "info",
            f"The operator contracts in the end, but not at every step: {factor}, {ratio}.",
            "no bound holds in this norm; the operator is non-normal or nonlinear",
        ),
        "non_expansive": (
            "warn",
            f"The operator neither contracts nor expands in the end: {factor}, {ratio}.",
            "plain iteration does not converge; see whether relaxation helps",
        ),
        "expanding": (
            "fail",
            f"The operator expands along the iterates: {factor}, {ratio}.",
            "scale the operator down (spectral normalisation), or use Newton's method",
        ),
        "inconclusive": (
            "inconclusive",
            f"Cannot tell whether the operator contracts or expands: {factor} allows both, "
            f"{ratio}.",
            "record more iterations; a chaotic map stays undecided",
        ),
    }
    status, message, hint = words[found.state]
    evidence = ContractionEvidence(
        state=found.state,
        factor=fixed.factor,
        interval=fixed.interval,
        largest_ratio=fixed.largest_ratio,
        iterates=fixed.usable,
    )
    return CONTRACTION.finding(status, message, evidence, value=fixed.factor, hint=hint)


def ask_iterations(analysis: Analysis) -> Finding:
    """Say how many iterations a tolerance takes."""
    return _asked(ITERATIONS, analysis, iterations_finding, IterationsEvidence())


def iterations_finding(found: Contraction) -> Finding:
    """Put the suggested depths into words."""
    usable = found.fixed.usable - 1
    evidence = IterationsEvidence(
        usable=usable,
        needed=tuple(
            NeededIterations(tolerance=n.tolerance, iterations=_or_none(n.predicted))
            for n in found.iterations
        ),
    )
    reachable = [n for n in found.iterations if math.isfinite(n.predicted)]
    if not reachable:
        message = "No number of iterations can be suggested: the iterates do not converge."
        return ITERATIONS.finding("inconclusive", message, evidence)
    needed = ", ".join(f"{n.predicted:.0f} for {n.tolerance:g}" for n in reachable)
    uncertain = any(not _is_certain(n) for n in reachable)
    return ITERATIONS.finding(
        "inconclusive" if uncertain else "pass" if usable >= reachable[0].predicted else "info",
        f"Iterations until the distance to the fixed point has shrunk to a given part of its "
        f"first value: {needed} ({usable} were recorded before rounding sets in).",
        evidence,
        value=reachable[0].predicted,
        hint="record more iterations: the count is uncertain by more than a fifth"
        if uncertain
        else None,
    )


def _is_certain(needed: Iterations) -> bool:
    low, high = needed.interval
    return high - low <= 0.4 * needed.predicted


def ask_acceleration(analysis: Analysis) -> Finding:
    """Say what would converge faster than plain iteration."""
    return _asked(ACCELERATION, analysis, acceleration_finding, AccelerationEvidence())


def acceleration_finding(found: Contraction) -> Finding:
    """Put relaxation, Anderson and Newton into words."""
    fixed, relaxed = found.fixed, found.relaxation
    said = [_relaxation_words(found)]
    step = min(found.anderson, key=lambda tried: tried.residual, default=None)
    if step is not None and step.residual < LITTLE:
        worth = iterations_worth(step.residual, fixed.factor)
        said.append(
            f"an Anderson step of depth {step.depth} leaves {step.residual:.1e} of the last change"
            + (f", worth {worth:.0f} iterations" if worth is not None else "")
        )
    if found.newton is not None:
        worth = iterations_worth(found.newton.error, fixed.factor)
        said.append(
            f"a Newton step from iterate {found.newton.at} would have left "
            f"{found.newton.error:.1e} of its distance"
            + (f", worth {worth:.0f}" if worth is not None and worth > 0 else "")
        )
    message = "; ".join(said) + "."
    evidence = AccelerationEvidence(
        relaxation=Relaxed(weight=relaxed.weight, factor=relaxed.factor),
        damped=Relaxed(weight=relaxed.damped_weight, factor=relaxed.damped_factor),
    )
    sentence = message[0].upper() + message[1:]
    return ACCELERATION.finding("info", sentence, evidence, value=relaxed.weight)


def _relaxation_words(found: Contraction) -> str:
    relaxed, plain = found.relaxation, found.fixed.factor
    if not relaxation_helps(found):
        return "relaxation would not help"
    return (
        f"relaxation with a = {relaxed.weight:.2f} would lower the factor "
        f"from {plain:.4g} to {relaxed.factor:.4g}"
    )


def relaxation_helps(found: Contraction) -> bool:
    """Whether the best relaxation would save a worthwhile part of the iterations."""
    relaxed, plain = found.relaxation.factor, found.fixed.factor
    if relaxed >= 1.0 or plain <= 0.0:
        return False
    if plain >= 1.0 or relaxed <= 0.0:
        return True
    return math.log(plain) / math.log(relaxed) <= 1.0 - WORTHWHILE


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None


CONTRACTION = Diagnostic(
    id="contraction",
    code="KS601",
    title="Contraction",
    explanation=Explanation(
        asks="Does repeating the layer bring its state closer to a fixed point?",
        matters=(
            "An iterated layer that does not contract never arrives, and its output depends "
            "on when it is stopped."
        ),
        looks_at=(
            "The rate at which successive iterates approach each other in the end: the "
            "magnitude of the leading Koopman eigenvalue of their changes. Its interval is "
            "the eigenpair's residual times its condition, plus how far the last iterates "
            "moved the estimate. The largest ratio of successive changes is the least "
            "Lipschitz constant that the iterates allow."
        ),
        to_do=(
            "Expanding: scale the operator down (spectral normalisation) or use Newton's "
            "method. Neither: see whether relaxation helps. Cannot tell: record more "
            "iterations."
        ),
        accuracy=(
            "The interval says how well the factor is known; the tests compare it with "
            "operators whose factor is known."
        ),
        cannot_tell=(
            "It speaks of the operator along these iterates only. A slow mode that the start "
            "hardly touches, and convergence slower than geometric, do not show."
        ),
    ),
    ask=ask_contraction,
    unit="per iteration",
    threshold=1.0,
)

ITERATIONS = Diagnostic(
    id="iterations",
    code="KS602",
    title="Iterations needed",
    explanation=Explanation(
        asks="How many iterations does the layer need to come close to its fixed point?",
        matters="Fewer leave an error; more cost time and bring nothing.",
        looks_at=(
            "The smallest n with |x_n - x*| at most a tolerance times |x_0 - x*|: from the "
            "predicted distances as long as there are iterates, and from the decay of each "
            "mode beyond them."
        ),
        to_do="Iterate that often. If the count is uncertain, record more iterations.",
        accuracy=(
            "Inconclusive where the factor's interval moves the count by more than a fifth "
            "either way."
        ),
        cannot_tell=(
            "Coming close is not the same as being accurate: a network may have learned to "
            "answer before it arrives."
        ),
    ),
    ask=ask_iterations,
    unit="iterations",
)

ACCELERATION = Diagnostic(
    id="acceleration",
    code="KS603",
    title="Faster than plain iteration",
    explanation=Explanation(
        asks="What would converge faster than plain iteration?",
        matters="The same fixed point can often be had in a fraction of the iterations.",
        looks_at=(
            "Relaxation x <- a x + (1 - a)(T(x) + f), which moves every eigenvalue to a + (1 "
            "- a) lambda; a is chosen to make the largest magnitude smallest (a > 0 damps, a "
            "< 0 over-relaxes). Anderson: the shortest affine combination of the last "
            "changes. Newton: the fixed point predicted from two thirds of the iterates, "
            "against that from all."
        ),
        to_do="Use the one that saves most iterations for what one of its steps costs.",
        accuracy="All three are computed to first order, from the recorded iterates.",
        cannot_tell="A strongly nonlinear operator gains less than this says.",
    ),
    ask=ask_acceleration,
    unit="relaxation weight a",
)
