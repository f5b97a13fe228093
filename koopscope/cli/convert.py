"""``koopscope convert``: turns checkpoints of other programs into a run file."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, cast

import click

from koopscope.cli import console
from koopscope.cli.reading import key_option, metrics_option, time_axis_option
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from koopscope.runs.checkpoints.hdf5_layouts import TimeAxis
    from koopscope.runs.checkpoints.series import CheckpointSeries
    from koopscope.runs.detect.following import Following
    from koopscope.runs.detect.opening import ForeignRun
    from koopscope.runs.names import Unit
    from koopscope.runs.run import Run

#: Seconds between looks at a folder that is followed.
_INTERVAL = 1.0


@click.command("convert")
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.option("-o", "--output", required=True, metavar="RUN", help="The run file to write.")
@metrics_option
@click.option(
    "--step-pattern",
    metavar="REGEX",
    help="Read the step from each name: the first group of this expression.",
)
@time_axis_option
@key_option
@click.option("--include", multiple=True, metavar="GLOB", help="Copy only tensors named like this.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out tensors named like this.")
@click.option(
    "--follow",
    is_flag=True,
    help="Wait for further checkpoints and append each when it is complete, until Ctrl-C.",
)
@click.option(
    "--idle",
    type=click.FloatRange(0.0),
    metavar="SECONDS",
    help="With --follow: leave when no checkpoint was completed for so long.",
)
@click.option(
    "--sketch",
    type=click.IntRange(8, 2**20),
    metavar="K",
    help="Keep K numbers of each tensor in place of its weights, for verdicts alone; SRC may be a "
    "run file as well.",
)
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
    follow: bool,
    idle: float | None,
    sketch: int | None,
    force: bool,
) -> None:
    """Copy a series of checkpoints, or an HDF5 file in another layout, into a run file.

    SRC are files with one snapshot each, or their folder: safetensors, PyTorch and Lightning files,
    Hugging Face checkpoint folders and caches, Flax, Orbax, npz, Keras and other HDF5. An
    interrupted conversion is continued by the same command, and so is one with --follow.
    """
    from koopscope.runs.checkpoints.metrics_log import LoggedMetrics, metrics_from
    from koopscope.runs.detect.converting import convert
    from koopscope.runs.detect.opening import open_foreign, open_run
    from koopscope.runs.detect.sketching_runs import convert_to_sketch
    from koopscope.runs.names import TensorFilter
    from koopscope.runs.run import select_tensors
    from koopscope.runs.sketches import SketchInfo
    from koopscope.runs.targets import check_targets

    if "" in sources:
        raise KoopscopeError("the name of a source is empty", "name a file or a folder")
    target = Path(output)
    if follow and time_axis:
        raise KoopscopeError("--time-axis is for one file, and --follow for a folder", "leave one")
    if idle is not None and not follow:
        raise KoopscopeError("--idle says when --follow ends", "add --follow")
    if follow and sketch is not None:
        raise KoopscopeError(
            "--sketch is for a run that is complete, and --follow for one that grows",
            "record sketches while training: Recorder(..., sketch=K)",
        )
    if follow:
        from koopscope.runs.detect.following import Choice, Following

        choice = Choice(TensorFilter(include, exclude), step_pattern, key)
        following = Following([Path(s) for s in sources], target, choice)
        if force or not following.continue_existing():
            check_targets([target], [*sources, *([metrics] if metrics else [])], force=force)
        _follow(following, metrics, idle)
        return
    check_targets([target], [*sources, *([metrics] if metrics else [])], force=force)
    began = time.perf_counter()

    if sketch is not None and len(sources) == 1 and not step_pattern:
        # A run file of weights is no foreign run, and can be sketched all the same.
        run: Run = open_run(sources[0], key=key, time_axis=time_axis, weights_for="making a sketch")
    else:
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
            unit: Unit = getattr(run, "unit", "step")
            logged = metrics_from(Path(metrics), description.steps.tolist(), unit)
        volume = run.volume(tensors)
        try:
            with console.progress(f"converting to {output}", volume) as listener:
                done = 0
                columns = logged.columns
                if sketch is not None:
                    convert_to_sketch(
                        run,
                        target,
                        SketchInfo(sketch, 0),
                        tensors=tensors,
                        metrics=columns,
                        on_progress=listener,
                    )
                else:
                    foreign = cast("ForeignRun", run)
                    done = convert(
                        foreign, target, tensors=tensors, metrics=columns, on_progress=listener
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
    what = f"{sum(t.size for t in tensors):,} weights"
    if sketch is not None:
        what = f"sketches of {what}, {sketch} numbers a tensor,"
    resumed = f" ({done} of them had been copied before)" if done else ""
    console.say(
        f"Wrote {description.snapshots} snapshots of {what}{'' if sketch else ','} "
        f"steps {description.steps[0]} to {description.steps[-1]}, from {description.format} "
        f"to {output}{resumed} in {time.perf_counter() - began:.1f} s."
    )


def _follow(following: Following, metrics: str | None, idle: float | None) -> None:
    from koopscope.runs.checkpoints.metrics_log import metrics_from

    def logged(series: CheckpointSeries) -> dict[str, npt.NDArray[np.float64]]:
        if metrics is None or not Path(metrics).exists():  # training may not have begun it
            return {}
        return metrics_from(Path(metrics), series.description.steps.tolist(), series.unit).columns

    # A flag, not an exception: the snapshot that is being copied is completed first.
    stopped = Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    had, told = len(following.steps), ""
    try:
        for added in following.rounds(_INTERVAL, idle, stopped, logged):
            for step in added:
                console.say(f"step {step} is in {following.output}")
            reason = "; ".join(f"{path}: {why}" for path, why in following.waiting.items())
            if reason and reason != told:
                console.say_more(f"waiting for {reason}")
            told = reason
    finally:
        signal.signal(signal.SIGINT, before)
    for path, why in following.waiting.items():
        console.say(f"not copied: {path}: {why}")
    for path, step in following.left_out.items():
        console.say(f"left out {path}: step {step} came after step {following.steps[-1]}")
    if not following.steps:
        raise KoopscopeError(
            f"no checkpoint was completed in {', '.join(map(str, following.sources))}",
            "name the folder into which training writes checkpoints",
        )
    console.say(
        f"Wrote {len(following.steps) - had} snapshots to {following.output}, which holds "
        f"{len(following.steps)}, steps {following.steps[0]} to {following.steps[-1]}."
    )
