"""What a run's findings come to, in a few lines: its state, why, what to do, what stays open.

Puts sentences of the findings in order; judges nothing anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.next_step import NextStep, by_importance
from koopscope.diagnostics.stability import StabilityEvidence
from koopscope.diagnostics.statistics.keeping import BestSnapshot

#: Findings beside the state of the run that the first line names, and open questions.
_NAMED = 2

#: Questions whose open answer changes nothing about what to do next.
_ASIDE = ("depth",)

#: The first part of a message is a headline if it has at most so many characters.
_HEADLINE = 90


@dataclass(frozen=True)
class FirstLook:
    """The first screen in words; every line is without a full stop.

    Attributes
    ----------
    state
        What state the run is in, and what is wrong with it.
    why
        The numbers that decided.
    do
        What to do, with a size.
    unsure
        What cannot be told.
    notes
        Why findings that seem to contradict each other do not.
    """

    state: str
    why: str
    do: str
    unsure: str
    notes: tuple[str, ...] = ()


def first_look(
    findings: Sequence[Finding],
    step: NextStep,
    best: BestSnapshot | None,
    limits: Callable[[str], str],
) -> FirstLook:
    """Return the first screen of a run.

    Parameters
    ----------
    findings
        All of the run.
    step
        What to do next.
    best
        The snapshot with the best validation metric, if one was recorded.
    limits
        What a finding cannot tell, by its id.
    """
    if not findings:
        return FirstLook("Nothing was asked", "", step.line, "")
    ranked = by_importance(findings)
    leading = [finding for finding in ranked if finding.id == "convergence"] or ranked[:1]
    wrong = [each for each in ranked if each.status in ("fail", "warn") and each not in leading]
    said = {headline(each): each for each in reversed(wrong)}  # of equal ones the first
    named = [*leading, *[each for each in wrong if said[headline(each)] is each][:_NAMED]]
    source = next((each for each in findings if each.id == step.finding), None)
    reasons = [source] if source is not None and source in named else []
    reasons += [each for each in named if each not in reasons]
    return FirstLook(
        state=_joined([headline(each) for each in named]),
        why=_joined([reason for each in reasons if (reason := _reason(each))][:_NAMED]),
        do=step.line,
        unsure=_open([each for each in ranked if each not in named], named[0].id, best, limits),
        notes=tuple(note for rule in _RECONCILED if (note := rule(findings))),
    )


def headline(finding: Finding) -> str:
    """Return the first part of a finding's message, up to a colon if that is short enough."""
    first, colon, _ = finding.message.partition(": ")
    if not colon or len(first) > _HEADLINE:
        first = finding.message.rstrip(".").partition(" (")[0]
    return first.partition("; ")[0]


def _reason(finding: Finding) -> str:
    """Return what stands behind the headline, up to the end of that sentence."""
    behind = finding.message[len(headline(finding)) :]
    if behind.startswith(";"):  # what else there is to say is no reason
        return ""
    return behind.removeprefix(":").strip().partition(". ")[0].rstrip(".")


def _joined(parts: Sequence[str]) -> str:
    """Join parts of a sentence; the first letter of the later ones is made small."""
    return "; ".join([*parts[:1], *map(_inside, parts[1:])])


def _inside(part: str) -> str:
    """Return a sentence as it stands inside another; ``NaN`` and ``SGD`` keep their letters."""
    word = part.partition(" ")[0]
    return part[0].lower() + part[1:] if word[1:].islower() else part


def _open(
    others: Sequence[Finding],
    leading: str,
    best: BestSnapshot | None,
    limits: Callable[[str], str],
) -> str:
    """Return what cannot be told: questions without an answer, else the limits of the answer."""
    untold = [each for each in others if each.status == "inconclusive" and each.id not in _ASIDE]
    reasons: dict[str, list[str]] = {}
    for each in untold:
        reasons.setdefault(headline(each), []).append(each.id)
    parts = [f"{' and '.join(ids)}: {_inside(why)}" for why, ids in reasons.items()][:_NAMED]
    more = len(untold) - sum(len(ids) for ids in [*reasons.values()][:_NAMED])
    if more:
        parts.append(f"{more} more question{'s' if more > 1 else ''} below")
    if best is None:
        parts.append("whether it over-fits: no validation loss was recorded")
    limit = limits(leading).partition(". ")[0].rstrip(".")
    return _joined(parts) or limit.replace("It cannot ", f"{leading} cannot ", 1)


def _stop_while_training(findings: Sequence[Finding]) -> str:
    """A stop, or over-fitting, although the weights still go somewhere."""
    said = _convergence(findings)
    if said is None or said.state != "training":
        return ""
    if any(each.id == "overfitting" and each.status in ("warn", "fail") for each in findings):
        return (
            "still training and over-fitting are no contradiction: the network still learns its "
            "training data, and gets worse on data that it has not seen"
        )
    if said.stop_step is None:
        return ""
    return (
        f"still training and a stop at step {said.stop_step} are no contradiction: the weights "
        "still get somewhere, but from there on little more was to be gained"
    )


def _growth_while_done(findings: Sequence[Finding]) -> str:
    """A mode that grows in a run that has come to rest or stands still."""
    said = _convergence(findings)
    grows = any(
        isinstance(each.evidence, StabilityEvidence)
        and each.evidence.growing_eigenvalue is not None
        for each in findings
    )
    if not grows or said is None or said.state not in ("converged", "stalled"):
        return ""
    return (
        "the weights move a little faster from snapshot to snapshot although the run is "
        f"{said.state}: the motion grows, and brings no more improvement"
    )


def _convergence(findings: Sequence[Finding]) -> ConvergenceEvidence | None:
    found = [e.evidence for e in findings if isinstance(e.evidence, ConvergenceEvidence)]
    return found[0] if found else None


#: Pairs of findings that seem to contradict each other, each with the words that say why not.
_RECONCILED: tuple[Callable[[Sequence[Finding]], str], ...] = (
    _stop_while_training,
    _growth_while_done,
)
