"""``koopscope explain``: prints what a rule means, how right it is, and what it cannot tell."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from koopscope.cli import console


@click.command("explain")
@click.argument("code", required=False)
@click.option(
    "--config",
    "overrides",
    multiple=True,
    metavar="FILE|KEY=VALUE",
    help="Show the levels under this TOML file instead of the one that is found, or with a single "
    "setting, as in koopscope check.",
)
@click.option(
    "--isolated", is_flag=True, help="Ignore configuration files and environment variables."
)
def command(code: str | None, overrides: Sequence[str], isolated: bool) -> None:
    """Explain a rule by its CODE or name, or list all of them.

    The levels are those that koopscope check would apply in this folder.
    """
    from koopscope.cli.configuration import policy_in_force
    from koopscope.gate.rules import RULES, rule
    from koopscope.report.gate.explanation import explanation, rules_table

    page = console.page()
    asked = None if code is None else rule(code)
    found = policy_in_force(overrides, os.environ, isolated)
    if asked is None:
        console.result(rules_table(RULES, page, found.policy))
    elif isolated and not overrides:
        console.result(explanation(asked, page))
    else:
        console.result(explanation(asked, page, found.policy, found.sources))
