"""Would the average of the last snapshots be better than the last one?

Weights that bounce about their course lose their noise in an average. A guess from the weights
alone: whoever has validation data can simply try, which costs one evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import StatedEvidence, shown_with
from koopscope.diagnostics.finding import Diagnostic, Explanation, Finding, usable
from koopscope.diagnostics.statistics.averaging import LEAST_SNAPSHOTS, AverageOutlook, outlook

#: Averaging is recommended from this probability on, and advised against below the other one.
LIKELY, UNLIKELY = 0.7, 0.4


@dataclass(frozen=True)
class AveragingEvidence(StatedEvidence):
    """What the answer rests on; see ``koopscope.diagnostics.statistics.averaging``."""

    state: str = "inconclusive"
    count: int | None = field(default=None, metadata=shown_with("count"))
    gain: float | None = field(default=None, metadata=shown_with("gain"))
    gain_interval: tuple[float, float] | None = field(default=None, metadata=shown_with("gain"))
    cosine: float | None = field(default=None, metadata=shown_with("cosine"))


def sentence(seen: AverageOutlook | None) -> str:
    """Return in words whether an average is likely to help."""
    if seen is None:
        return (
            "Nothing tells whether this average helps: the run is too short, or nothing moved. "
            "Compare its validation loss with the last snapshot's."
        )
    how = "bounce" if seen.cosine < 0.0 else "wander" if seen.cosine < _STRAIGHT else "travel on"
    helps = "likely" if seen.probability >= LIKELY else "unlikely"
    if UNLIKELY < seen.probability < LIKELY:
        helps = "as likely as not"
    return (
        f"Averaging the last {seen.count} snapshots is {helps} to lower the validation loss: the "
        f"weights {how} (mean cosine of successive changes {seen.cosine:.2f})."
    )


#: Mean cosine of successive changes from which on weights travel rather than wander.
_STRAIGHT = 0.3


def ask(analysis: Analysis) -> Finding:
    """Return how likely an average is to help, and of how many snapshots."""
    seen = outlook(analysis)
    if seen is None:
        snapshots = analysis.window.snapshots
        why = (
            f"{usable(snapshots)} too few to tell whether averaging helps: it takes "
            f"{LEAST_SNAPSHOTS}."
            if snapshots < LEAST_SNAPSHOTS
            else "Nothing moved, so there is nothing to average."
        )
        return DIAGNOSTIC.finding("inconclusive", why, AveragingEvidence())
    state = (
        "helps"
        if seen.probability >= LIKELY
        else "hurts"
        if seen.probability <= UNLIKELY
        else "open"
    )
    step = int(analysis.description.steps[analysis.window.stop - 1])
    return DIAGNOSTIC.finding(
        "info" if state == "helps" else "pass",
        sentence(seen),
        AveragingEvidence(
            state=state,
            count=seen.count,
            gain=seen.gain,
            gain_interval=seen.gain_interval,
            cosine=seen.cosine,
        ),
        value=seen.probability,
        hint="koopscope average RUN -o FILE writes it" if state == "helps" else None,
        action=Action("average", count=seen.count, step=step) if state == "helps" else None,
    )


DIAGNOSTIC = Diagnostic(
    id="averaging",
    code="KS106",
    title="Averaging",
    explanation=Explanation(
        asks="Would the average of the last snapshots have a lower validation loss than the last?",
        matters=(
            "An average costs no training. Where weights bounce in a valley it is the cheapest way "
            "to a lower loss; where they still travel it throws progress away."
        ),
        looks_at=(
            "How the last 16 changes of the weights point: against each other, aside, or on. No "
            "loss is read."
        ),
        to_do=(
            "`koopscope average RUN -o FILE` writes the average; evaluate it next to the last "
            "snapshot, and renew the running statistics of batch norms before."
        ),
        accuracy=(
            "On held-out families an average that was called likely to help did so in 63% of 27 "
            "cases, others in 53%: little better than a coin, and no substitute for an evaluation "
            "(docs/evidence/averaging.md)."
        ),
        cannot_tell=(
            "By how much. Whether the validation set agrees with the test set. Averages across a "
            "change of the learning rate mix two courses."
        ),
    ),
    ask=ask,
    unit="probability that the validation loss falls",
)
