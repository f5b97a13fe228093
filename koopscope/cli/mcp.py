"""``koopscope mcp``: answers the questions of agents about runs, read-only, until it is told."""

from __future__ import annotations

import click


@click.command("mcp")
@click.option(
    "--root",
    "roots",
    multiple=True,
    default=(".",),
    show_default="the current folder",
    type=click.Path(),
    metavar="DIR",
    help="A folder whose runs may be read; repeat it for several.",
)
def command(roots: tuple[str, ...]) -> None:
    """Serve the Model Context Protocol on standard input and output.

    An agent may inspect, diagnose and compare runs below the --root folders and have findings
    explained; nothing is written, and no other folder is read. Needs koopscope[mcp].
    """
    from koopscope.agents.questions import Questions
    from koopscope.agents.server import server

    server(Questions.below(roots)).run(transport="stdio")
