"""``koopscope compare``: are trainings the same dynamics, and where do they part?"""

from __future__ import annotations

import glob
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.options import some_analysis_options
from koopscope.cli.outputs import Outputs, report_options
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError
from koopscope.report.registry import formats

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.comparison.subjects import Opener
    from koopscope.engine.source import ProgressListener
    from koopscope.runs.run import Run

#: Names of the pictures.
PICTURES = ("distances", "spectra", "layers")


def _groups(
    context: click.Context, option: click.Parameter, texts: Sequence[str]
) -> dict[str, list[str]]:
    """``NAME=GLOB``, any number of times; one name may have several globs."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, pattern = text.partition("=")
        if not (name and equals and pattern):
            raise click.BadParameter(f"{text!r} is not NAME=GLOB, such as 'adam=runs/adam-*.h5'")
        matched = sorted(glob.glob(pattern))
        if not matched:
            raise click.BadParameter(f"no file matches {pattern!r}")
        found.setdefault(name, []).extend(path for path in matched if path not in found[name])
    return found


@click.command("compare")
@click.argument("runs", nargs=-1, metavar="[RUN RUN...]")
@click.option(
    "--group",
    "groups",
    multiple=True,
    callback=_groups,
    metavar="NAME=GLOB",
    help="Runs that repeat one recipe with other seeds; name two groups or more. With three runs "
    "or more in each, their labels are permuted.",
)
@click.option(
    "--match-by-order",
    is_flag=True,
    help="Match the k-th tensor of every run with the k-th of the first, whatever their names.",
)
@some_analysis_options("window", "include", "exclude")
@run_options
@report_options(*formats("comparison"), figures=True)
def command(
    runs: tuple[str, ...],
    groups: dict[str, list[str]],
    match_by_order: bool,
    settings: Settings,
    reading: Reading,
    outputs: Outputs,
) -> None:
    """Tell whether trainings are the same dynamics, and where they part.

    Holds the first RUN against each of the others: when the weights part and how fast, and whether
    the courses of speed and straightness, the spectra and the laws of motion agree. None of these
    depends on which hidden unit is which. Repeats of a recipe are named with --group, so that what
    seeds make is not taken for a change. The verdict is same, different or inconclusive; the exit
    code is 0 whatever it is (koopscope check --against fails on a difference).
    """
    from koopscope.comparison.compare import compare_opened
    from koopscope.comparison.subjects import Choice

    sides = list(_sides(runs, groups, reading))
    named = [*runs, *(path for paths in groups.values() for path in paths)]
    outputs.check(named[:1], PICTURES, inputs=named[1:])
    choice = Choice(settings.include, settings.exclude, settings.window, match_by_order)
    began = time.perf_counter()
    bars = _Bars()
    try:
        found = compare_opened(sides, choice, bars)
    finally:
        bars.close()
    if outputs.plots is not None:
        from koopscope.report.figures import comparison as figures

        draws = (figures.distances, figures.spectra, figures.layers)
        for name, draw in zip(PICTURES, draws, strict=True):
            outputs.write_picture(name, partial(draw, found))
    outputs.write_reports("comparison", found)
    count = sum(len(opened) for _, opened in sides)
    seconds = time.perf_counter() - began
    console.say(f"Compared {count} runs in {seconds:.1f} s: {found.verdict}.")


def _sides(
    runs: Sequence[str], groups: dict[str, list[str]], reading: Reading
) -> Iterable[tuple[str, list[Opener]]]:
    """Yield what is compared: runs one by one, or groups of them."""
    if runs and groups:
        raise KoopscopeError(
            "runs were named both by themselves and in groups",
            "give each group a name: --group old='runs/old-*.h5' --group new='runs/new-*.h5'",
        )
    if len(groups) == 1:
        raise KoopscopeError(
            f"there is only the group {next(iter(groups))}", "name a second one with --group"
        )
    everywhere = [path for paths in groups.values() for path in paths]
    twice = next((path for path in everywhere if everywhere.count(path) > 1), None)
    if twice is not None:
        raise KoopscopeError(f"{twice} is in two groups", "name globs that have no run in common")
    if not groups and len(runs) < 2:
        raise KoopscopeError(
            "it takes two runs to compare" + (f", and only {runs[0]} was named" if runs else ""),
            "koopscope compare A.h5 B.h5, or --group NAME=GLOB twice",
        )
    if not groups:
        # A run may be held against itself or named twice, so each is opened by its own place.
        for name in runs:
            yield name, list(reading.openers([name]).values())
    for name, paths in groups.items():
        yield name, list(reading.openers(paths).values())


class _Bars:
    """A progress bar for the reading of the runs at hand; the next reading gets its own."""

    def __init__(self) -> None:
        from contextlib import ExitStack

        self._shown = ExitStack()

    def __call__(self, runs: Sequence[Run]) -> ProgressListener | None:
        self._shown.close()
        volume = sum(run.volume(run.description.tensors) for run in runs)
        title = "reading " + " and ".join(run.description.path for run in runs)
        return self._shown.enter_context(console.progress(title, volume))

    def close(self) -> None:
        """Take the bar away."""
        self._shown.close()
