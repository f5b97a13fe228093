"""``koopscope modes``: a spectrum's modes as a file of arrays. Parses and calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from koopscope.cli import console
from koopscope.cli.options import some_analysis_options
from koopscope.cli.outputs import Outputs, force_option
from koopscope.cli.reading import Reading, run_options

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings

#: Eigenvalues that are printed without --verbose; the file holds all that were asked for.
_PRINTED = 10


def _indices(
    context: click.Context, option: click.Parameter, texts: Sequence[str]
) -> tuple[int, ...] | None:
    """``I``, ``I,J`` or ``I-J``, any number of times; nothing is all of them."""
    indices: list[int] = []
    for text in (part.strip() for word in texts for part in word.split(",")):
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(text) > 18:
            raise click.BadParameter(f"{text!r} is not an index, such as 0, or 0-3 for several")
        ends = int(first), int(last or first)
        if ends[1] < ends[0] or ends[1] - ends[0] >= 2**20:
            raise click.BadParameter(f"{text!r} counts no modes: the smaller index comes first")
        indices += range(ends[0], ends[1] + 1)
    return tuple(dict.fromkeys(indices)) or None


@click.command("modes")
@click.argument("run", metavar="RUN")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the modes go: .h5 or .npz.",
)
@click.option(
    "--which",
    multiple=True,
    callback=_indices,
    metavar="I[,J][-K]",
    help="Only these modes, counted from 0, largest amplitude first; repeat it for several. All by "
    "default.",
)
@click.option(
    "--scope",
    default="network",
    show_default=True,
    metavar="NAME",
    help="The layer or tensor whose spectrum it is, as `koopscope analyze --level tensor` names "
    "it.",
)
@click.option(
    "--kind",
    type=click.Choice(["exact", "projected"]),
    default="exact",
    show_default=True,
    help="exact modes add up to the recorded motion; projected ones have unit length.",
)
@some_analysis_options("observable", "rank", "delay", "window", "until", "include", "exclude")
@run_options
@force_option
def command(
    run: str,
    output: Path,
    which: tuple[int, ...] | None,
    scope: str,
    kind: Literal["exact", "projected"],
    settings: Settings,
    reading: Reading,
    force: bool,
) -> None:
    """Write modes of RUN: one complex array per tensor, in its own shape, with one mode per index.

    Each eigenvalue that `koopscope analyze` prints has a mode: how much every weight takes part in
    that motion. Reads every weight twice: once for the spectrum, once for the modes, block by
    block. The file holds an array of shape (*tensor shape, modes) under each tensor's name, and
    the eigenvalues in its metadata.
    """
    from koopscope.analysis.analysis import Analysis
    from koopscope.engine.room import within_memory
    from koopscope.export.modes import ModeChoice, check_modes_name, write_modes
    from koopscope.runs.run import select_tensors

    check_modes_name(output)
    Outputs(force=force).check((run,), inputs=reading.inputs, others=[output])
    began = time.perf_counter()
    with reading.opened(run, "writing modes") as recorded:
        opened = within_memory(recorded, settings.asked_steps)
        tensors = select_tensors(opened.description, settings.include, settings.exclude)
        with console.progress(f"reading {run}", opened.volume(tensors)) as listener:
            analysis = Analysis.of(opened, replace(settings, method="exact"), listener)
        choice = ModeChoice(scope, settings.observable, which, kind)
        written = write_modes(opened, analysis, output, choice, force=force)
    for place, (index, value) in enumerate(zip(written.which, written.eigenvalues, strict=True)):
        tell = console.say if place < _PRINTED else console.say_more
        turning = f" {value.imag:+.4f}i" if value.imag else ""
        tell(f"mode {index}: eigenvalue {value.real:.4f}{turning}, magnitude {abs(value):.4f}")
    if len(written.which) > _PRINTED:
        console.say(f"and {len(written.which) - _PRINTED} more, which --verbose lists")
    of = "the network" if scope == "network" else written.scope
    console.say(
        f"Wrote {len(written.which)} of {written.available} {kind} modes of {of} to {output} in "
        f"{time.perf_counter() - began:.1f} s."
    )
