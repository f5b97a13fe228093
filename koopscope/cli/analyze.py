"""``koopscope analyze``: the main job. Parses, calls, and hands to the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.engines import engine_options, what_happened
from koopscope.cli.options import analysis_options
from koopscope.cli.outputs import Outputs, output_options
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.analysis import Settings
    from koopscope.diagnostics.diagnosis import Diagnosis
    from koopscope.engine.local import GramSource
    from koopscope.report.report import Report
    from koopscope.runs.run import Run

#: Exit code when a run could not be analysed.
COULD_NOT = 2


@click.command("analyze")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@analysis_options
@engine_options
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    runs: tuple[str, ...],
    settings: Settings,
    source: GramSource,
    shards: bool,
    outputs: Outputs,
) -> None:
    """Tell how training went from the spectrum of the recorded weights.

    Reads each RUN once and prints the eigenvalues of the network, a row per layer, and the
    findings. Several runs are analysed one by one, unless they are --shards of one. The exit code
    is 0 whenever every run could be analysed, whatever was found.
    """
    from koopscope.report.report import Failure, Report
    from koopscope.runs.opening import open_run, open_shards

    jobs: list[Callable[[], Run]] = [partial(open_run, path) for path in runs]
    if shards:
        jobs, runs = [partial(open_shards, runs)], runs[:1]
    outputs.check(runs)
    began = time.perf_counter()
    diagnoses, failures = [], []
    for path, opened in zip(runs, jobs, strict=True):
        try:
            diagnoses.append(_diagnosed(opened, settings, source))
        except KoopscopeError as error:
            if len(runs) == 1:
                raise
            console.complain_of(error)
            failures.append(Failure(path, error))
    report = Report(tuple(diagnoses), tuple(failures))
    outputs.write(report)
    console.say(_closing_sentence(report, time.perf_counter() - began))
    if failures:
        ctx.exit(COULD_NOT)


def _diagnosed(opened: Callable[[], Run], settings: Settings, source: GramSource) -> Diagnosis:
    """Read and judge one run, with a progress bar where it takes long."""
    from koopscope.analysis import Analysis
    from koopscope.diagnostics.diagnosis import diagnose
    from koopscope.runs.run import select_tensors

    with opened() as run:
        path = run.description.path
        tensors = select_tensors(run.description, settings.include, settings.exclude)
        volume = run.volume(tensors)
        with console.progress(f"reading {path}", volume) as listener:
            began = time.perf_counter()
            analysis = Analysis.of(run, settings, listener, source)
            seconds = time.perf_counter() - began
        console.say_more(
            f"read {volume / 2**20:,.1f} MiB of {path} in {seconds:.2f} s "
            f"({volume / 2**20 / seconds:,.0f} MiB/s)"
        )
    for sentence in what_happened(source):
        console.say_more(sentence)
    return diagnose(analysis)


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
