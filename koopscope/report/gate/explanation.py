"""The rules in words, from their registry: one rule, or a table of all."""

from __future__ import annotations

from collections.abc import Sequence

from koopscope.gate.rules import PRESETS, Rule
from koopscope.report.text.terminal_style import Cell, Page, table, wrapped


def rules_table(rules: Sequence[Rule], page: Page) -> str:
    """Return a line per rule: code, name, title."""
    head = [Cell(title, "faint") for title in ("code", "name", "title")]
    rows = [[Cell(r.code, "strong"), Cell(r.id), Cell(r.title)] for r in rules]
    return "\n".join([*table([head, *rows], page), "", "koopscope explain CODE tells more.", ""])


def explanation(rule: Rule, page: Page) -> str:
    """Return a rule's explanation, its options and its level in every preset."""
    levels = ", ".join(f"{preset}: {rule.level(preset)}" for preset in PRESETS)
    lines = [page.style(f"{rule.code} {rule.id}: {rule.title}", "title"), ""]
    lines += [*wrapped(rule.explanation, page), "", f"level by preset  {levels}"]
    if rule.worse is not None:
        side = "above" if rule.worse == "higher" else "below"
        lines.append(f"threshold        a value {side} it is worse; set rules.{rule.id}.threshold")
    return "\n".join([*lines, ""])


def rules_markdown(rules: Sequence[Rule]) -> str:
    """Return the same table as Markdown, for the documentation."""
    rows = [f"| {r.code} | `{r.id}` | {r.title} |" for r in rules]
    return "\n".join(["| code | name | asks about |", "|---|---|---|", *rows])
