"""Everything one call of ``koopscope check`` has to report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from koopscope.report.analysis_report import Failure

if TYPE_CHECKING:
    from koopscope.gate.judgement import Judgement, Outcome, Verdict
    from koopscope.report.text.terminal_style import Page

#: name -> module with ``render(gate, page)``, imported only when its format is asked for.
FORMATS = {
    "table": "koopscope.report.gate.text",
    "json": "koopscope.report.gate.json",
    "junit": "koopscope.report.gate.junit",
    "markdown": "koopscope.report.gate.markdown",
    "github": "koopscope.report.gate.github",
}


@dataclass(frozen=True)
class Gate:
    """Judgements and failures in the order in which the user named the runs."""

    judgements: tuple[Judgement, ...]
    failures: tuple[Failure, ...] = ()

    def outcomes(self, verdict: Verdict) -> Iterator[tuple[str, Outcome]]:
        """Yield (run, outcome) with this verdict."""
        for judgement in self.judgements:
            path = judgement.diagnosis.analysis.description.path
            for outcome in judgement.outcomes:
                if outcome.verdict == verdict:
                    yield path, outcome

    def count(self, verdict: Verdict) -> int:
        """Return how many outcomes have this verdict, over all runs."""
        return sum(judgement.count(verdict) for judgement in self.judgements)


def render(gate: Gate, name: str, page: Page) -> str:
    """Return the report in one of ``FORMATS``, ending in a newline."""
    text: str = import_module(FORMATS[name]).render(gate, page)
    return text if text.endswith("\n") else text + "\n"


def interval_text(outcome: Outcome) -> str:
    """Return the interval of the number found in words, or an empty string."""
    if outcome.interval is None:
        return ""
    return f"{outcome.interval[0]:.4g} to {outcome.interval[1]:.4g}"
