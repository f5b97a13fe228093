"""``koopscope analyze``: reads runs, judges them, and writes the reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.diagnosing import diagnosed
from koopscope.cli.engines import engine_options
from koopscope.cli.exit_codes import COULD_NOT
from koopscope.cli.options import analysis_options
from koopscope.cli.outputs import Outputs, output_options
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.engine.source import GramSource
    from koopscope.report.analysis_report import Report


@click.command("analyze")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@analysis_options
@engine_options
@click.option(
    "--spectrum",
    is_flag=True,
    help="Show each network's spectrum after the findings; so do options that shape it.",
)
@run_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    runs: tuple[str, ...],
    settings: Settings,
    source: GramSource,
    shards: bool,
    spectrum: bool,
    reading: Reading,
    outputs: Outputs,
) -> None:
    """Tell from the recorded weights how training went.

    Reads each RUN once and prints its state, why, and what to do; then the findings, each with what
    to do about it (is training done, is the learning rate too high, did it start well, and more),
    and a row per layer. --spectrum shows how the network moved as well. Several runs are analysed
    one by one, unless they are --shards of one, and then ranked; if they differ only in depth, the
    smallest depth that is enough is reported as well. The exit code is 0 if every run could be
    analysed, whatever the findings say.
    """
    from koopscope.diagnostics.sweep import sweep_of
    from koopscope.report.analysis_report import Report
    from koopscope.report.envelope import Failure

    jobs = reading.openers(runs, shards)
    outputs.check(list(jobs), inputs=[*runs, *reading.inputs])
    began = time.perf_counter()
    diagnoses, failures = [], []
    for path, opened in jobs.items():
        try:
            diagnoses.append(diagnosed(opened, settings, source))
        except KoopscopeError as error:
            if len(jobs) == 1:
                raise
            console.complain_of(error)
            failures.append(Failure(path, error))
    swept = sweep_of(diagnoses)
    with_spectrum = spectrum or settings.asks_for_a_spectrum
    report = Report(tuple(diagnoses), tuple(failures), swept, with_spectrum)
    outputs.write(report)
    console.say(_closing_sentence(report, time.perf_counter() - began))
    if failures:
        ctx.exit(COULD_NOT)


def _closing_sentence(report: Report, seconds: float) -> str:
    """Count what was found, worst first."""
    analysed = len(report.diagnoses)
    sentence = f"Analysed {analysed} run{'' if analysed == 1 else 's'} in {seconds:.1f} s"
    statuses = [finding.status for run in report.diagnoses for finding in run.findings]
    order = ("fail", "warn", "inconclusive", "info", "pass")
    counts = [f"{statuses.count(status)} {status}" for status in order if status in statuses]
    if report.failures:
        counts.insert(0, f"{len(report.failures)} could not be read")
    return f"{sentence}: {', '.join(counts)}." if counts else f"{sentence}."
