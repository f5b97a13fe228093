"""The one registry of rules: every finding is a rule, and so are recorded metrics and baselines.

Documentation, ``koopscope explain`` and the gate all read it here. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from koopscope.diagnostics.finding import Explanation
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
        What it means, what it rests on, what it cannot tell, section by section.
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
    explanation: Explanation
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
    id="metrics",
    code="KS904",
    title="Recorded metrics",
    explanation=Explanation(
        asks=(
            "Are the recorded metrics (loss, val_loss, accuracy, ...) finite numbers, and "
            "within the bounds that are configured?"
        ),
        matters=(
            "A bound on a metric is what a run has to reach to pass; a loss that ends as NaN "
            "is a run that failed."
        ),
        looks_at=(
            "The last and the best value of each metric that was recorded with the run. "
            "Without bounds, only whether the last value is NaN or infinite."
        ),
        to_do=(
            "Record the metric that is bounded, or correct its name. For a NaN, lower the "
            "learning rate."
        ),
        accuracy="Exact: the recorded numbers are compared.",
        cannot_tell=(
            "A metric that is bounded and was not recorded cannot be judged, and the run does "
            "not pass."
        ),
    ),
    worse=None,
)
BASELINE = Rule(
    id="baseline",
    code="KS905",
    title="Change against a baseline",
    explanation=Explanation(
        asks=(
            "Did the findings or the metrics get worse than in earlier reports of the same "
            "kind of run (--baseline, once or for several seeds)?"
        ),
        matters="A run can be within every limit and still be worse than it was before a change.",
        looks_at=(
            "Each finding's status and value, and each metric's last value, against the "
            "earlier ones. A change counts where it is larger than another seed makes, or "
            "than the tolerance that is set; what got better passes. On which side a metric "
            "is worse is read off its name (loss, error; accuracy, score); of other names "
            "every change counts."
        ),
        to_do=(
            "Look at what changed since the baseline was stored, or store a new one if the "
            "change is meant."
        ),
        accuracy=(
            "With several reports, the spread between them says what another seed makes. With "
            "one, it is a spread that was measured on 84 small networks and holds for 95% of "
            "pairs of seeds: docs/guide/ci.md."
        ),
        cannot_tell="From a single report it cannot know how much your own runs scatter.",
    ),
    worse=None,
)

SAME_DYNAMICS = Rule(
    id="same-dynamics",
    code="KS701",
    title="Same dynamics as a reference",
    explanation=Explanation(
        asks="Did this training go the way a reference did (--against REFERENCE)?",
        matters=(
            "A new version of a library, another precision or a change that should have no effect "
            "can change how a network trains long before a final score shows it."
        ),
        looks_at=(
            "Whether the weights are the same numbers; else how far apart the courses of speed, "
            "straightness and remaining way, the spectra and the laws of motion are, in units of "
            "what another seed of one recipe makes. None of these depends on which hidden unit is "
            "which. With three references or more, and as many runs named in `koopscope compare "
            "--group`, the labels are permuted."
        ),
        to_do=(
            "Look with `koopscope compare REFERENCE RUN` at which layer differs in what. Record "
            "three seeds of either side where one run cannot tell."
        ),
        accuracy=(
            "Set on seven families of small networks and measured on seven others: "
            "docs/evidence/comparing.md."
        ),
        cannot_tell=(
            "With one run a side, a small change cannot be told from a seed: then it is "
            "inconclusive, and the run neither passes nor fails. Whether a different run is a "
            "worse one."
        ),
    ),
    worse="higher",
    unit="usual seed distances",
)

#: Judged wherever a call asks for them, in every preset.
ASKED_BY_CALL = (BASELINE, SAME_DYNAMICS)


def _of_findings() -> Iterable[Rule]:
    seen = set()
    for diagnostic in (*DIAGNOSTICS, *ITERATE_DIAGNOSTICS):
        if diagnostic.code not in seen:
            seen.add(diagnostic.code)
            yield Rule(
                id=diagnostic.id,
                code=diagnostic.code,
                title=diagnostic.title,
                explanation=diagnostic.explanation,
                worse=diagnostic.worse,
                unit=diagnostic.unit,
                threshold=diagnostic.threshold,
            )


#: By code, as they are reported.
RULES: tuple[Rule, ...] = tuple(
    sorted((*_of_findings(), METRICS, BASELINE, SAME_DYNAMICS), key=lambda rule: rule.code)
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
