"""``koopscope average``: the mean of a run's last snapshots as a file, and whether it helps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.outputs import Outputs, force_option
from koopscope.cli.reading import Reading, run_options

if TYPE_CHECKING:
    from koopscope.averaging.average import Average, Weighing

#: Names that are printed of many.
_NAMED = 3


@click.command("average")
@click.argument("run", metavar="RUN")
@click.option(
    "--last",
    type=click.IntRange(min=2),
    metavar="K",
    help="Average the last K snapshots.",
)
@click.option(
    "--auto",
    is_flag=True,
    help="Choose K by how the weights move; this is what happens without --last.",
)
@click.option("--until", type=int, metavar="STEP", help="As if the run had ended at this step.")
@click.option(
    "--weighing",
    type=click.Choice(["uniform", "ema"]),
    default="uniform",
    show_default=True,
    help="Weigh all snapshots the same, or each one 0.8 times as much as the one after it.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the average goes: .safetensors, .npz, .h5, or .pt, a state dict of PyTorch.",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Average only tensors named like this."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this.")
@run_options
@force_option
def command(
    run: str,
    last: int | None,
    auto: bool,
    until: int | None,
    weighing: Weighing,
    output: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    reading: Reading,
    force: bool,
) -> None:
    """Average the last snapshots of RUN, and say whether that is likely to help.

    Weights that bounce about their course lose their noise in an average, at no cost of training;
    weights that still travel straight on fall behind. How the weights move tells which. The average
    has the names, shapes and dtypes of the run. Running statistics of batch norms are averaged too,
    and named: renew them with a pass over training data.
    """
    from koopscope.averaging.average import choose, write_average
    from koopscope.errors import KoopscopeError
    from koopscope.runs.arrays.writing import check_suffix
    from koopscope.runs.names import TensorFilter
    from koopscope.runs.run import select_tensors

    if auto and last is not None:
        raise KoopscopeError("--auto and --last both say how many", "give one of them")
    check_suffix(output)
    Outputs(force=force).check((run,), inputs=reading.inputs, others=[output])
    wanted = TensorFilter(include, exclude)
    with reading.opened(run, weights_for="averaging") as opened:
        volume = opened.volume(select_tensors(opened.description, include, exclude))
        with console.progress(f"reading {run}", volume) as listener:
            choice = choose(opened, last, until, weighing, wanted, listener)
        made = write_average(opened, choice, output, wanted, force=force)
    for sentence in _sentences(made):
        console.say(sentence)
    console.say(
        f"Wrote the average of {made.count} snapshots, steps {made.first_step} to "
        f"{made.last_step}, to {output}."
    )


def _sentences(made: Average) -> list[str]:
    """Return what a user should know of an average, most important first."""
    from koopscope.diagnostics.averaging import sentence

    lines = [sentence(made.outlook)]
    if made.running:
        lines.append(
            f"Running statistics were averaged too: {_named(made.running)}. Renew them: "
            "reset_running_stats() and momentum = None on every batch norm, then one pass over "
            "training data in train mode."
        )
    if made.missing:
        lines.append(f"Not in the run, so not in the file: {_named(made.missing)}.")
    return lines


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
