"""What came of one rule on one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from koopscope.gate.rules import Level

Verdict = Literal["error", "warn", "inconclusive", "pass"]

#: Worst first: the order in which outcomes are reported.
VERDICTS: tuple[Verdict, ...] = ("error", "warn", "inconclusive", "pass")


@dataclass(frozen=True)
class Outcome:
    """What came of one rule on one run.

    Attributes
    ----------
    id, code, title
        The rule.
    verdict
        ``error``, ``warn``, ``inconclusive`` or ``pass``.
    message
        One sentence with its number.
    expected, found
        What was demanded and what is there, in words with units, both of the criterion that
        decided; ``None`` where none did.
    interval
        Of the finding's own number, where it has one.
    hint
        What to do, or ``None``.
    do
        The finding's action in words; empty where there is none.
    demanded
        Whether the call or the configuration asks for this very number, so that a run which does
        not have it cannot pass.
    """

    id: str
    code: str
    title: str
    verdict: Verdict
    message: str
    expected: str | None = None
    found: str | None = None
    interval: tuple[float, float] | None = None
    hint: str | None = None
    do: str = ""
    demanded: bool = False


def violation(level: Level) -> Verdict:
    """Return what a violation of a rule at this level counts as."""
    return "warn" if level == "warn" else "error"
