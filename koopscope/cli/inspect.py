"""``koopscope inspect``: lists what is in a run, without judging it or reading a weight."""

from __future__ import annotations

import click

from koopscope.cli import console
from koopscope.cli.diagnosing import openers
from koopscope.cli.exit_codes import COULD_NOT
from koopscope.cli.options import key_option
from koopscope.errors import KoopscopeError


@click.command("inspect")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for programs.",
)
@key_option
@click.pass_context
def command(ctx: click.Context, runs: tuple[str, ...], form: str, key: str | None) -> None:
    """Show what is in each RUN: tensors, steps, metrics, metadata, and what is skipped and why.

    Reads no weights, so it is quick on files of any size, and it may look at a run that is still
    being recorded.
    """
    from koopscope.report.envelope import Failure
    from koopscope.report.inspection import Inspection
    from koopscope.report.registry import render

    descriptions, failed = [], []
    jobs = openers(runs, shards=False, key=key)
    for path, opened in jobs.items():
        try:
            with opened() as run:
                descriptions.append(run.description)
        except KoopscopeError as error:
            if len(jobs) == 1:
                raise
            console.complain_of(error)
            failed.append(Failure(path, error))
    if descriptions or form == "json":
        inspection = Inspection(tuple(descriptions), tuple(failed))
        console.result(render("inspection", inspection, form, console.page()))
    if failed:
        ctx.exit(COULD_NOT)
