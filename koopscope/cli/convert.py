"""``koopscope convert``: checkpoints of other programs become a run file."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatchcase
from pathlib import Path

import click

from koopscope.cli import console
from koopscope.errors import KoopscopeError


@click.command("convert")
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("-o", "--output", required=True, metavar="RUN", help="The run file to write.")
@click.option("--metrics", metavar="CSV", help="Losses and other numbers that training logged.")
@click.option(
    "--step-pattern",
    metavar="REGEX",
    help="Take the step from the names: the expression's first group.",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Copy only tensors named like this.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this.")
@click.option("--force", is_flag=True, help="Replace an existing run file.")
def command(
    sources: tuple[str, ...],
    output: str,
    metrics: str | None,
    step_pattern: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    force: bool,
) -> None:
    """Copy a series of checkpoints, or an HDF5 file in another layout, into a run file.

    SRC are files with one snapshot each, or their folder: safetensors, PyTorch and Lightning files,
    Hugging Face checkpoint folders, npz, Keras and other HDF5. An interrupted conversion is
    continued by the same command.
    """
    from koopscope.runs.checkpoints.metrics_log import metrics_from_csv
    from koopscope.runs.detect.converting import convert
    from koopscope.runs.detect.opening import open_foreign
    from koopscope.runs.run import select_tensors

    if "" in sources:
        raise KoopscopeError("the name of a source is empty", "name a file or a folder")
    target = _checked_output(output, sources, force)
    began = time.perf_counter()

    def keep(name: str) -> bool:
        return (not include or any(fnmatchcase(name, glob) for glob in include)) and not any(
            fnmatchcase(name, glob) for glob in exclude
        )

    run = open_foreign([Path(s) for s in sources], step_pattern=step_pattern, keep=keep)
    with run:
        description = run.description
        tensors = select_tensors(description, include, exclude)
        logged = (
            metrics_from_csv(Path(metrics), description.steps.tolist(), run.unit) if metrics else {}
        )
        volume = run.volume(tensors)
        try:
            with console.progress(f"converting to {output}", volume) as listener:
                done = convert(run, target, tensors=tensors, metrics=logged, on_progress=listener)
        except OSError as error:
            raise KoopscopeError(
                f"{output} cannot be written: {error.strerror or error}",
                "free some space or choose another place, then repeat the command to continue",
            ) from error
    for note in description.notes:
        console.say(note)
    for skip in description.skipped:
        console.say_more(f"left out {skip.name}: {skip.reason}")
    resumed = f" ({done} of them had been copied before)" if done else ""
    console.say(
        f"Wrote {description.snapshots} snapshots of {sum(t.size for t in tensors):,} weights, "
        f"steps {description.steps[0]} to {description.steps[-1]}, from {description.format} "
        f"to {output}{resumed} in {time.perf_counter() - began:.1f} s."
    )


def _checked_output(output: str, sources: tuple[str, ...], force: bool) -> Path:
    target = Path(output)
    if not target.parent.is_dir():
        raise KoopscopeError(
            f"{output} cannot be written: {target.parent} is not a directory",
            "create the directory first",
        )
    if target.is_dir():
        raise KoopscopeError(f"{output} is a directory", "name a file, for example -o run.h5")
    if any(os.path.realpath(source) == os.path.realpath(target) for source in sources):
        raise KoopscopeError(f"{output} is one of the sources", "choose another output")
    if target.exists() and not force:
        raise KoopscopeError(f"{output} exists", "add --force to replace it")
    return target
