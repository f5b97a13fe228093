"""``koopscope convert``: turns checkpoints of other programs into a run file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.options import key_option
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.runs.checkpoints.hdf5_layouts import TimeAxis


@click.command("convert")
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("-o", "--output", required=True, metavar="RUN", help="The run file to write.")
@click.option(
    "--metrics",
    metavar="FILE",
    help="Losses and other numbers that training logged: CSV, JSON lines, trainer_state.json, or "
    "TensorBoard's event file.",
)
@click.option(
    "--step-pattern",
    metavar="REGEX",
    help="Read the step from each name: the first group of this expression.",
)
@click.option(
    "--time-axis",
    type=click.Choice(["first", "last"]),
    help="Which axis of an HDF5 file's datasets is time, if the file does not say.",
)
@key_option
@click.option("--include", multiple=True, metavar="GLOB", help="Copy only tensors named like this.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this.")
@click.option("--force", is_flag=True, help="Replace an existing run file.")
def command(
    sources: tuple[str, ...],
    output: str,
    metrics: str | None,
    step_pattern: str | None,
    time_axis: TimeAxis | None,
    key: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
) -> None:
    """Copy a series of checkpoints, or an HDF5 file in another layout, into a run file.

    SRC are files with one snapshot each, or their folder: safetensors, PyTorch and Lightning files,
    Hugging Face checkpoint folders, npz, Keras and other HDF5. An interrupted conversion is
    continued by the same command.
    """
    from koopscope.runs.checkpoints.metrics_log import LoggedMetrics, metrics_from
    from koopscope.runs.detect.converting import convert
    from koopscope.runs.detect.opening import open_foreign
    from koopscope.runs.names import TensorFilter
    from koopscope.runs.run import select_tensors
    from koopscope.runs.targets import check_targets

    if "" in sources:
        raise KoopscopeError("the name of a source is empty", "name a file or a folder")
    target = Path(output)
    check_targets([target], [*sources, *([metrics] if metrics else [])], force=force)
    began = time.perf_counter()

    run = open_foreign(
        [Path(s) for s in sources],
        step_pattern=step_pattern,
        keep=TensorFilter(include, exclude),
        time_axis=time_axis,
        key=key,
    )
    with run:
        description = run.description
        tensors = select_tensors(description, include, exclude)
        logged = LoggedMetrics({})
        if metrics:
            logged = metrics_from(Path(metrics), description.steps.tolist(), run.unit)
        volume = run.volume(tensors)
        try:
            with console.progress(f"converting to {output}", volume) as listener:
                done = convert(
                    run, target, tensors=tensors, metrics=logged.columns, on_progress=listener
                )
        except OSError as error:
            raise KoopscopeError(
                f"{output} cannot be written: {error.strerror or error}",
                "free some space or choose another place, then repeat the command to continue",
            ) from error
    for note in (*description.notes, *logged.unmatched):
        console.say(note)
    for skip in description.skipped:
        tell = console.say_more if skip.counts else console.say
        tell(f"left out {skip.name}: {skip.reason}")
    resumed = f" ({done} of them had been copied before)" if done else ""
    console.say(
        f"Wrote {description.snapshots} snapshots of {sum(t.size for t in tensors):,} weights, "
        f"steps {description.steps[0]} to {description.steps[-1]}, from {description.format} "
        f"to {output}{resumed} in {time.perf_counter() - began:.1f} s."
    )
