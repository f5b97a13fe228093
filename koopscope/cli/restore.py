"""``koopscope restore``: recorded weights as a file that a training can start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.options import metric_option
from koopscope.cli.outputs import Outputs, force_option
from koopscope.cli.reading import Reading, run_options

if TYPE_CHECKING:
    from koopscope.restoring.restore import At

#: Names of what is missing that are printed.
_NAMED = 3


def _at(context: click.Context, option: click.Parameter, text: str) -> At:
    """``best``, ``healthy``, or a step."""
    if text == "best":
        return "best"
    if text == "healthy":
        return "healthy"
    if not text.lstrip("-").isdecimal() or len(text) > 18:
        raise click.BadParameter(f"{text!r} is neither a step nor best nor healthy")
    return int(text)


@click.command("restore")
@click.argument("run", metavar="RUN")
@click.option(
    "--at",
    required=True,
    callback=_at,
    metavar="STEP|best|healthy",
    help="Which weights: of this step; of the best validation metric; or of the last snapshot "
    "before NaN, a spike or a divergence that the run did not recover from.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where they go: .safetensors, .npz, .h5, or .pt, a state dict of PyTorch.",
)
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Restore only tensors named like this."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this.")
@metric_option
@run_options
@force_option
def command(
    run: str,
    at: At,
    output: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    metric: str | None,
    reading: Reading,
    force: bool,
) -> None:
    """Write the weights that RUN had at a step, under their own names and in their own dtype.

    best is the snapshot with the best validation metric, chosen against noise: the best value
    inside the best stretch of five. healthy is the last snapshot before the trouble that the
    run did not recover from: weights or a loss that became NaN, or a training loss that rose and
    did not come back. What the run does not hold, such as the state of the optimizer, is not in the
    file.
    """
    from koopscope.restoring.restore import choose, write_snapshot
    from koopscope.runs.arrays.writing import check_suffix
    from koopscope.runs.names import TensorFilter
    from koopscope.runs.run import select_tensors

    check_suffix(output)
    Outputs(force=force).check((run,), inputs=reading.inputs, others=[output])
    wanted = TensorFilter(include, exclude)
    with reading.opened(run, "restoring") as opened:
        volume = opened.volume(select_tensors(opened.description, include, exclude))
        with console.progress(f"reading {run}", volume) as listener:
            choice = choose(opened, at, wanted, metric, listener)
        restored = write_snapshot(opened, choice, output, wanted, force=force)
    console.say(restored.reason)
    if restored.missing:
        more = len(restored.missing) - _NAMED
        named = ", ".join(restored.missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        console.say(f"Not in the run, so not in the file: {named}.")
    console.say(f"Wrote the weights of step {restored.step} to {output}.")
