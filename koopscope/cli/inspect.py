"""``koopscope inspect``: lists what is in a run, without judging it or reading a weight."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from koopscope.cli import console
from koopscope.cli.exit_codes import COULD_NOT
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError

#: More files than this are named by a pattern.
_LISTED = 4


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
@run_options
@click.pass_context
def command(ctx: click.Context, runs: tuple[str, ...], form: str, reading: Reading) -> None:
    """Show what is in each RUN: tensors, steps, metrics, metadata, and what is skipped and why.

    Reads no weights, so it is quick on files of any size, and it may look at a run that is still
    being recorded.
    """
    from koopscope.report.envelope import Failure
    from koopscope.report.inspection import Inspection
    from koopscope.report.registry import render
    from koopscope.runs.native.reader import RunFile

    descriptions, failed = [], []
    conversions: list[str] = []
    jobs = reading.openers(runs)
    for path, opened in jobs.items():
        try:
            with opened() as run:
                descriptions.append(run.description)
                if not isinstance(run, RunFile):
                    members = getattr(run, "paths", [path])
                    named = runs if len(jobs) == 1 else [path] if Path(path).exists() else members
                    conversions.append(_conversion([Path(name) for name in named], reading))
        except KoopscopeError as error:
            if len(jobs) == 1:
                raise
            console.complain_of(error)
            failed.append(Failure(path, error))
    if descriptions or form == "json":
        inspection = Inspection(tuple(descriptions), tuple(failed))
        console.result(render("inspection", inspection, form, console.page()))
    for words in conversions if form == "table" else ():
        console.say(f"to make a run file of it: {words}")
    if failed:
        ctx.exit(COULD_NOT)


def _conversion(sources: Sequence[Path], reading: Reading) -> str:
    """Return the command that converts what was opened; many files in a folder by a pattern."""
    named = shlex.join(str(source) for source in sources)
    homes = {source.parent for source in sources}
    endings = {"".join(source.suffixes[-1:]) for source in sources}
    if len(sources) > _LISTED and len(homes) == len(endings) == 1:
        named = f"{shlex.quote(str(homes.pop()))}/*{endings.pop()}"
    words = f"koopscope convert {named} -o run.h5"
    return " ".join([words, *map(shlex.quote, reading.words())])
