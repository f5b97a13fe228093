"""``koopscope explain``: prints what a rule means, how right it is, and what it cannot tell."""

from __future__ import annotations

import click

from koopscope.cli import console


@click.command("explain")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain a rule by its CODE or name, or list all of them."""
    from koopscope.gate.rules import RULES, rule
    from koopscope.report.gate.explanation import explanation, rules_table

    page = console.page()
    console.result(rules_table(RULES, page) if code is None else explanation(rule(code), page))
