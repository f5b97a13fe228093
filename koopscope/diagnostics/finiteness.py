"""Did any recorded weight become NaN or infinite, and where first?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.coverage import share_read, unread
from koopscope.diagnostics.evidence import Evidence
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, Status
from koopscope.diagnostics.statistics.keeping import last_healthy


@dataclass(frozen=True)
class NonFiniteTensor:
    """A tensor that is not finite throughout.

    Attributes
    ----------
    tensor, first_step
        Its name, and the step of the first snapshot with an entry that is not finite.
    snapshots, entries
        Snapshots with such an entry, and the most of them in one snapshot.
    """

    tensor: str
    first_step: int
    snapshots: int
    entries: int


@dataclass(frozen=True)
class FinitenessEvidence(Evidence):
    """What the answer rests on: the tensors that are not finite throughout, in model order."""

    tensors: tuple[NonFiniteTensor, ...]


def ask(analysis: Analysis) -> Finding:
    """Name every tensor with a non-finite entry and the step at which the first one appears."""
    asked = slice(analysis.window.asked_first, analysis.window.asked_stop)
    steps = analysis.description.steps[asked]
    bad: list[NonFiniteTensor] = []
    for tensor in analysis.tensors:
        counts = analysis.nonfinite(tensor.name)[asked]
        if counts.any():
            first = int(np.flatnonzero(counts)[0])
            bad.append(
                NonFiniteTensor(
                    tensor=tensor.name,
                    first_step=int(steps[first]),
                    snapshots=int(np.count_nonzero(counts)),
                    entries=int(counts.max()),
                )
            )
    status: Status = "inconclusive" if unread(analysis) else "pass"
    message, hint = _all_finite(analysis.read_share * share_read(analysis)), None
    if bad:
        worst = min(bad, key=lambda entry: entry.first_step)  # model order within a step
        others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        rest = "; the finite snapshots are analysed" if analysis.finite_tensors else ""
        status = "fail"
        message = (
            f"NaN or infinite weights in {worst.tensor} from step {worst.first_step} on"
            f"{others}{rest}."
        )
        broken = break_of(analysis)
        hint = (
            "look at the steps just before: if the learning rate is too high, weights grow there"
            if broken is None
            else broken.hint
        )
    evidence = FinitenessEvidence(tuple(bad))
    tensors = f"{len(bad)} tensor{'s' if len(bad) > 1 else ''}" if bad else ""
    criterion = Criterion(
        "finite weights throughout",
        f"NaN or infinite ones in {tensors}" if bad else "finite weights",
        of_value=True,
    )
    return DIAGNOSTIC.finding(
        status,
        message,
        evidence,
        value=float(len(bad)),
        hint=hint,
        criterion=criterion,
        action=_action(analysis) if bad else None,
    )


def _action(analysis: Analysis) -> Action:
    """Go back to the last healthy snapshot, with a lower rate if weights grew after it."""
    healthy = last_healthy(analysis)
    if healthy is None:
        return Action("restart")
    broken = break_of(analysis)
    if broken is not None and broken.grew:
        return replace(broken.action, step=healthy.step)
    return Action("restore", step=healthy.step)


def _all_finite(read_share: float) -> str:
    if read_share >= 1.0:
        return "Every recorded weight is a finite number."
    return f"Every weight that was read is a finite number; {read_share:.1%} of them were read."


DIAGNOSTIC = Diagnostic(
    id="finiteness",
    code="KS903",
    title="Finite weights",
    explanation=Explanation(
        asks="Did any recorded weight become NaN or infinite, and where first?",
        matters="From that step on the network computes nothing useful.",
        looks_at=(
            "Every number in every snapshot: NaN, infinite, or too large to square. The other "
            "findings rest on the longest stretch of snapshots without one; a tensor that is "
            "never finite is left out and named."
        ),
        to_do=(
            "Go back to the last finite snapshot and look at the steps after it: a corrupt "
            "sample, log or division of 0, an overflow in float16, a learning rate that is "
            "too high."
        ),
        accuracy=(
            "Exact: the numbers are counted. With --method compressed, only in the weights "
            "that were read."
        ),
        cannot_tell="It cannot see what happened between two snapshots.",
    ),
    ask=ask,
    unit="tensors",
    threshold=0.0,
)
