"""Chooses of all findings the one to act on first. Asks nothing of the run itself.

A new finding takes part by its ``action``; its place among equals is one name in ``ORDER``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import Finding, Status

#: Worse statuses come first: what fails is to be mended before what only could be better.
SEVERITY: tuple[Status, ...] = ("fail", "warn", "info", "pass", "inconclusive")

#: Among findings of one status: what ruins everything after it comes before what it ruins. Findings
#: that are not named here come last.
ORDER = (
    "finiteness",
    "spikes",
    "learning-rate",
    "stability",
    "dead-units",
    "convergence",
    "initialization",
    "overfitting",
    "plateau",
    "wasted",
    "averaging",
    "rest",
    "depth",
)

#: Codes of questions about the recording; they come after those about the training.
RECORDING = "KS9"

#: What to do where no finding has an action, by the state of the run.
_NOTHING = {
    "training": "go on training",
    "converged": "nothing: training is done",
}


@dataclass(frozen=True)
class NextStep:
    """The single most useful thing to do.

    Attributes
    ----------
    action
        The action of the finding it comes from; ``none`` where no finding has one.
    finding
        That finding's id, or ``None``.
    line
        What to do, without a full stop; empty where no finding could name anything.
    """

    action: Action
    finding: str | None
    line: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it: the action, the finding it comes from, and the line."""
        return {**self.action.plain(), "finding": self.finding, "line": self.line}


def by_importance(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, the one that matters most first."""
    return sorted(findings, key=_rank)


def _rank(finding: Finding) -> tuple[bool, int, int]:
    place = ORDER.index(finding.id) if finding.id in ORDER else len(ORDER)
    is_of_recording = finding.code.startswith(RECORDING) and finding.id not in ORDER
    return is_of_recording, SEVERITY.index(finding.status), place


def next_step(findings: Sequence[Finding]) -> NextStep:
    """Return what to do first, and which finding says so.

    A run that is still training and has nothing wrong goes on: what could be better, such as
    averaging, comes after that.
    """
    is_training = _state(findings) == "training"
    for finding in by_importance(findings):
        is_wrong = finding.status in ("fail", "warn")
        advises_to_stop = finding.action.do == "stop"
        if finding.action.do != "none" and (is_wrong or advises_to_stop or not is_training):
            return NextStep(finding.action, finding.id, finding.action.line)
    return NextStep(Action(), None, _without_action(findings))


def _without_action(findings: Sequence[Finding]) -> str:
    """Return what to do where no finding names an action: its hint, or what the state says."""
    for finding in by_importance(findings):
        if finding.status in ("fail", "warn") and finding.hint:
            return finding.hint
    return _NOTHING.get(_state(findings) or "", "")


def _state(findings: Sequence[Finding]) -> str | None:
    """Return the state of the run, if the finding that names it is there."""
    for finding in findings:
        if finding.id == "convergence" and isinstance(finding.evidence, StatedEvidence):
            return finding.evidence.state
    return None
