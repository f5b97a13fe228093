"""The rules in words, from their registry: one rule, or a table of all."""

from __future__ import annotations

from collections.abc import Sequence

from koopscope.diagnostics.finding import limit_words
from koopscope.gate.policy import Policy
from koopscope.gate.rules import PRESETS, Level, Preset, Rule
from koopscope.report.text.terminal_style import Cell, Page, table, wrapped

_LEVELS: dict[Level, str] = {"off": "not judged", "warn": "a warning", "error": "an error"}


#: Sections of an explanation, in the order in which they are printed.
SECTIONS = {
    "asks": "What it asks",
    "matters": "Why it matters",
    "looks_at": "What it looks at",
    "to_do": "What to do",
    "accuracy": "How right it is",
    "cannot_tell": "What it cannot tell",
}


def rules_table(rules: Sequence[Rule], page: Page, policy: Policy | None = None) -> str:
    """Return a line per rule: code, name, title, and what a failure counts as here."""
    here = policy or Policy()
    head = [Cell(title, "faint") for title in ("code", "name", "title", "a failure here is")]
    rows = [
        [Cell(r.code, "strong"), Cell(r.id), Cell(r.title), Cell(_LEVELS[here.setting(r).level])]
        for r in rules
    ]
    return "\n".join([*table([head, *rows], page), "", "koopscope explain CODE tells more.", ""])


def explanation(
    rule: Rule, page: Page, policy: Policy | None = None, sources: Sequence[str] = ()
) -> str:
    """Return a rule's explanation, its options, its level in every preset, and here.

    Parameters
    ----------
    policy
        What is in force here; not told if not given.
    sources
        Where it was written; nowhere is the defaults.
    """
    lines = [page.style(f"{rule.code} {rule.id}: {rule.title}", "title"), ""]
    for name, heading in SECTIONS.items():
        lines.append(page.style(heading, "strong"))
        lines += [f"  {line}" for line in wrapped(getattr(rule.explanation, name), page, 2)]
    lines.append("")
    rows = [[Cell(head, "faint") for head in ("preset", "a failure is", "a warning is")]]
    rows += [
        [Cell(preset), *(Cell(_LEVELS[level]) for level in _levels(rule, preset))]
        for preset in PRESETS
    ]
    setting = (policy or Policy()).setting(rule)
    if policy is not None:
        warnings: Level = setting.level if setting.level == "off" or setting.warnings else "warn"
        levels = (setting.level, warnings)
        rows.append([Cell("here", "strong"), *(Cell(_LEVELS[level]) for level in levels)])
    lines += table(rows, page)
    if policy is not None:
        lines += [page.style(line, "faint") for line in wrapped(_origin(sources), page)]
    lines.append("")
    if rule.unit is not None:
        lines.append(f"unit       {rule.unit}")
    if setting.threshold is not None and rule.worse is not None:
        lines.append(f"limit here {limit_words(setting.threshold, rule.worse)}")
    if setting.accept is not None:
        lines.append(f"passes     {' or '.join(setting.accept)}, here")
    if rule.threshold is not None and rule.worse is not None:
        limit = limit_words(rule.threshold, rule.worse)
        lines.append(f"threshold  {limit} by default; set rules.{rule.id}.threshold")
    elif rule.unit is not None:
        lines.append(f"threshold  none by default; set rules.{rule.id}.threshold")
    return "\n".join([*lines, ""])


def _origin(sources: Sequence[str]) -> str:
    if not sources:
        return "here: the defaults, since no configuration file or variable says otherwise"
    return f"here: as {' and '.join(sources)} say" + ("s" if len(sources) == 1 else "")


def _levels(rule: Rule, preset: Preset) -> tuple[Level, Level]:
    return rule.level(preset), rule.level_of_warnings(preset)
