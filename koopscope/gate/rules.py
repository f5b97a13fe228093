"""The one registry of rules: every finding is a rule, and so are recorded metrics and baselines.

Documentation, ``koopscope explain`` and the gate all read it here. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from koopscope.diagnostics.registry import DIAGNOSTICS, ITERATE_DIAGNOSTICS
from koopscope.errors import KoopscopeError

Level = Literal["off", "warn", "error"]
LEVELS: tuple[Level, ...] = ("off", "warn", "error")

Preset = Literal["recommended", "strict", "none"]
PRESETS: tuple[Preset, ...] = ("recommended", "strict", "none")
_WARNINGS: dict[Preset, Level] = {"recommended": "warn", "strict": "error", "none": "off"}


@dataclass(frozen=True)
class Rule:
    """One thing a run can be held against.

    Attributes
    ----------
    id, code, title
        As in the finding it rests on.
    explanation
        What it means, what it rests on, what it cannot tell.
    worse
        On which side of a threshold a value is worse; ``None`` for rules without a value.
    unit
        Of its value.
    threshold
        That its value is held against by default; ``None`` where the run decides, or there is none.
    """

    id: str
    code: str
    title: str
    explanation: str
    worse: Literal["higher", "lower"] | None = "higher"
    unit: str | None = None
    threshold: float | None = None

    def level(self, preset: Preset) -> Level:
        """Return what a preset lets a failure of the rule count as."""
        return "off" if preset == "none" else "error"

    def level_of_warnings(self, preset: Preset) -> Level:
        """Return what a preset lets a finding count as that is only a warning."""
        return _WARNINGS[preset]


METRICS = Rule(
    "metrics",
    "KS904",
    "Recorded metrics",
    "Holds metrics recorded with the run (loss, val_loss, accuracy, ...) against the bounds given "
    "in the configuration, and their last values against being finite numbers. Without bounds it "
    "looks only for a last value that is NaN or infinite. A metric that is bounded and was not "
    "recorded cannot be judged, and the run does not pass.",
    None,
)
BASELINE = Rule(
    "baseline",
    "KS905",
    "Change against a baseline",
    "Holds the findings and the metrics' last values against reports that were stored earlier "
    "(--baseline, once or for several seeds): what got worse by more than another seed makes, or "
    "than the tolerance that is set, is named; what got better passes. On which side a metric is "
    "worse is read off its name (loss, error; accuracy, score); of other names every change "
    "counts. Without several reports the spread of seeds is one that was measured on small "
    "networks: docs/guide/ci.md.",
    None,
)


def _of_findings() -> Iterable[Rule]:
    seen = set()
    for diagnostic in (*DIAGNOSTICS, *ITERATE_DIAGNOSTICS):
        if diagnostic.code not in seen:
            seen.add(diagnostic.code)
            yield Rule(
                diagnostic.id,
                diagnostic.code,
                diagnostic.title,
                diagnostic.explanation,
                diagnostic.worse,
                diagnostic.unit,
                diagnostic.threshold,
            )


#: By code, as they are reported.
RULES: tuple[Rule, ...] = tuple(
    sorted((*_of_findings(), METRICS, BASELINE), key=lambda rule: rule.code)
)


def rule(name: str) -> Rule:
    """Return the rule with this id or code, upper or lower case.

    Raises
    ------
    KoopscopeError
        If there is none; the nearest is named.
    """
    for known in RULES:
        if name.lower() in (known.id, known.code.lower()):
            return known
    raise KoopscopeError(f"there is no rule {name!r}", did_you_mean(name, _names()))


def _names() -> list[str]:
    return [name for known in RULES for name in (known.id, known.code)]


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of the known words, or all of them."""
    words = list(known)
    upper = {word.upper(): word for word in words}
    close = get_close_matches(wrong.upper(), upper, n=1)
    return f"did you mean {upper[close[0]]!r}?" if close else f"there are: {', '.join(words)}"
