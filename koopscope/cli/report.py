"""``koopscope report``: a folder of HTML pages about many runs, with an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.diagnosing import diagnosed
from koopscope.cli.engines import engine_options
from koopscope.cli.exit_codes import COULD_NOT
from koopscope.cli.options import analysis_options
from koopscope.cli.outputs import write_file
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.engine.source import GramSource


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder of the site: a new one, or one that this command made.",
)
@click.option("--all", "anew", is_flag=True, help="Judge runs again that have not changed.")
@analysis_options
@engine_options
@run_options
@click.pass_context
def command(
    ctx: click.Context,
    runs: tuple[str, ...],
    output: Path,
    anew: bool,
    settings: Settings,
    source: GramSource,
    shards: bool,
    reading: Reading,
) -> None:
    """Make a site of HTML pages about RUNs: an index with one row per run, and a page for each.

    The site opens from disk and asks for nothing over the network. Called again, it judges only
    runs that are new or whose files have changed, and keeps the pages of runs that are not named.
    """
    from koopscope.report.html.site import Site

    site = Site.at(output)
    made = kept = failed = 0
    for path, opened in reading.openers(runs, shards).items():
        try:
            with opened() as run:
                files = run.files or (Path(path),)
            if not anew and site.is_known(path, files):
                kept += 1
                continue
            place, page = site.page(diagnosed(opened, settings, source), path, files)
        except KoopscopeError as error:
            console.complain_of(error)
            failed += 1
            continue
        write_file(place, page.encode())
        made += 1
    if not site.entries:
        raise KoopscopeError("no run could be read, so there is no site", "see the errors above")
    for place, content in site.index().items():
        write_file(place, content.encode())
    unchanged = f", {kept} unchanged" if kept else ""
    console.say(
        f"Wrote {output / 'index.html'}: {made} page{'' if made == 1 else 's'} new{unchanged}."
    )
    if failed:
        ctx.exit(COULD_NOT)
