"""``koopscope history``: one row per run over many runs and stored reports."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.diagnosing import diagnosed
from koopscope.cli.engines import engine_options
from koopscope.cli.exit_codes import COULD_NOT
from koopscope.cli.options import some_analysis_options
from koopscope.cli.outputs import Outputs, report_options
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError
from koopscope.report.registry import formats

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.engine.source import GramSource
    from koopscope.history.rows import Row


@click.command("history")
@click.argument("places", nargs=-1, required=True, metavar="DIR|RUN|REPORT...")
@click.option(
    "--sort",
    "order",
    type=click.Choice(["date", "path", "steps", "worst", "state", "metric"]),
    default="date",
    show_default=True,
    help="Order of the rows; worst puts the most serious first.",
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option(
    "--worst",
    "statuses",
    type=click.Choice(["pass", "info", "inconclusive", "warn", "fail"]),
    multiple=True,
    help="Only runs whose worst finding has this status; repeat it for several.",
)
@click.option("--state", "states", multiple=True, metavar="STATE", help="Only runs in this state.")
@click.option("--match", metavar="GLOB", help="Only runs whose path matches.")
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N rows.")
@some_analysis_options("include", "exclude", "until")
@engine_options
@run_options
@report_options(*formats("history"))
@click.pass_context
def command(
    ctx: click.Context,
    places: tuple[str, ...],
    order: str,
    reverse: bool,
    statuses: Sequence[str],
    states: Sequence[str],
    match: str | None,
    last: int | None,
    settings: Settings,
    source: GramSource,
    shards: bool,
    reading: Reading,
    outputs: Outputs,
) -> None:
    """List many runs, one row each: date, steps, verdicts, a number and its course.

    A folder stands for every run file and every JSON report below it. Reports stored with
    --format json are read as they are; runs are analysed. Nothing is kept between calls but the
    usual cache beside a large run.
    """
    from koopscope.history.rows import History, sorted_rows

    if shards:
        raise KoopscopeError("history lists whole runs", "name the shards of a run to analyze")
    outputs.check(places, inputs=reading.inputs)
    rows: list[Row] = []
    failures = []
    for path in _files(places):
        if match is not None and not fnmatch.fnmatch(str(path), match):
            continue
        try:
            rows += _rows(path, settings, source, reading)
        except KoopscopeError as error:
            console.complain(f"{path}: {error.message}", error.hint, "warning")
            failures.append((str(path), error))
    kept = [
        row
        for row in rows
        if (not statuses or row.worst in statuses) and (not states or row.state in states)
    ]
    ordered = sorted_rows(kept, order, reverse=reverse)
    outputs.write_reports(
        "history", History(tuple(ordered[-last if last else 0 :]), tuple(failures))
    )
    said = f"{len(ordered)} of {len(rows)} runs" if len(kept) < len(rows) else f"{len(rows)} runs"
    console.say(f"{said}{f', {len(failures)} not read' if failures else ''}.")
    if failures and not rows:
        ctx.exit(COULD_NOT)


def _files(places: Sequence[str]) -> Iterator[Path]:
    """Yield what was named; a folder is what lies below it."""
    from koopscope.history.rows import files_in

    for place in places:
        path = Path(place)
        if not path.is_dir():
            yield path
            continue
        found = files_in(path)
        if not found:
            raise KoopscopeError(
                f"{place} holds no run file and no JSON report",
                "name runs or a folder of them; a folder of checkpoints is one run: analyze it",
            )
        yield from found


def _rows(path: Path, settings: Settings, source: GramSource, reading: Reading) -> list[Row]:
    from koopscope.history.rows import is_report, row_of, rows_of_report

    if is_report(path):
        return rows_of_report(path)
    return [
        row_of(diagnosed(opened, settings, source), path)
        for opened in reading.openers([str(path)]).values()
    ]
