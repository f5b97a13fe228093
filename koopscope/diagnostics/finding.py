"""What a diagnostic says: one frozen record per question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from koopscope.analysis.analysis import Analysis

Status = Literal["pass", "info", "warn", "fail", "inconclusive"]


def usable(snapshots: int) -> str:
    """Return the beginning of a sentence that says what too few snapshots are too few for."""
    return f"{snapshots} usable snapshot" + (" is" if snapshots == 1 else "s are")


@dataclass(frozen=True)
class Finding:
    """The answer to one question about a run.

    Attributes
    ----------
    id
        The question, for example ``convergence``.
    code
        Its stable code, for example ``KS101``.
    status
        ``pass``, ``info``, ``warn``, ``fail``, or ``inconclusive`` when the data cannot tell.
    message
        One sentence in words, with its number.
    value, threshold, unit
        The number the status rests on, what it was held against, and their unit.
    hint
        What the user can do, or ``None``.
    evidence
        Plain JSON values that other programs may rely on.
    """

    id: str
    code: str
    status: Status
    message: str
    value: float | None = None
    threshold: float | None = None
    unit: str | None = None
    hint: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnostic:
    """One question that can be asked of every run.

    Attributes
    ----------
    id, code
        As in ``Finding``.
    title
        A few words for tables.
    explanation
        What the finding means, what it rests on, and what it cannot tell; a few sentences.
    ask
        Answers it. Too little data is an answer (``inconclusive``), never an exception.
    worse
        On which side of a threshold a value is worse.
    unit
        Of its values.
    """

    id: str
    code: str
    title: str
    explanation: str
    ask: Callable[[Analysis], Finding]
    worse: Literal["higher", "lower"] = "higher"
    unit: str | None = None

    def finding(
        self,
        status: Status,
        message: str,
        evidence: Mapping[str, Any],
        *,
        value: float | None = None,
        threshold: float | None = None,
        hint: str | None = None,
    ) -> Finding:
        """Return an answer; threshold and unit are those of a value, and there is none without."""
        known = value is not None
        return Finding(
            self.id,
            self.code,
            status,
            message,
            value=value,
            threshold=threshold if known else None,
            unit=self.unit if known else None,
            hint=hint,
            evidence=evidence,
        )
