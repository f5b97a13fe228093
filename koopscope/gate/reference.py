"""What a comparison with a reference run comes to, as a finding that a gate can judge."""

from __future__ import annotations

from dataclasses import dataclass

from koopscope.comparison.results import PairComparison
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import Criterion, Finding, Status
from koopscope.gate.rules import SAME_DYNAMICS

_STATUS: dict[str, Status] = {
    "same": "pass",
    "different": "fail",
    "inconclusive": "inconclusive",
}


@dataclass(frozen=True)
class ReferenceEvidence(StatedEvidence):
    """What the verdict on a run and its reference rests on; see ``PairComparison``.

    Attributes
    ----------
    state
        ``same``, ``different`` or ``inconclusive``.
    """

    references: tuple[str, ...] = ()
    decided_by: str = ""
    p_value: float | None = None
    parts_at_step: int | None = None
    aligned_by: str = ""
    notes: tuple[str, ...] = ()


def reference_finding(found: PairComparison) -> Finding:
    """Return the finding KS701 on the second side of a comparison; the first is the reference."""
    status = _STATUS[found.verdict]
    criterion = Criterion("same", found.verdict) if status != "inconclusive" else None
    return Finding(
        id=SAME_DYNAMICS.id,
        code=SAME_DYNAMICS.code,
        status=status,
        message=found.reason,
        value=found.distance,
        unit=SAME_DYNAMICS.unit,
        hint=None
        if status == "pass"
        else "see where they part: koopscope compare REFERENCE RUN; record three seeds of each, "
        "and name them with --group, to tell a change from a seed",
        evidence=ReferenceEvidence(
            state=found.verdict,
            references=tuple(run.path for run in found.first.runs),
            decided_by=found.rule,
            p_value=found.p_value,
            parts_at_step=found.parts_at_step,
            aligned_by=found.timeline.way,
            notes=found.notes,
        ),
        criterion=criterion,
    )
