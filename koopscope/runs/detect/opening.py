"""Open whatever the user named as a run: one look at it decides which reader reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.look import Look
from koopscope.runs.hdf5 import structure
from koopscope.runs.hdf5.stacked import patiently
from koopscope.runs.native.reader import RunFile
from koopscope.runs.run import Run

if TYPE_CHECKING:
    from koopscope.runs.checkpoints.hdf5_layouts import TimeAxis
    from koopscope.runs.checkpoints.hdf5_trajectories import StackedLayout, TimeLastLayout
    from koopscope.runs.checkpoints.series import CheckpointSeries

Source: TypeAlias = str | os.PathLike[str]
ForeignRun: TypeAlias = "CheckpointSeries | StackedLayout | TimeLastLayout"


def open_run(
    source: Source | Sequence[Source],
    *,
    key: str | None = None,
    time_axis: TimeAxis | None = None,
    weights_for: str = "",
) -> Run:
    """Open a recorded run.

    Parameters
    ----------
    source
        A run file; an HDF5 file in another layout; a folder of checkpoints, or a list of
        checkpoint files with one snapshot each, which are read in place. A ``Look`` at one saves
        looking again.
    key
        Where in each checkpoint of PyTorch the weights lie, if not where they are looked for.
    time_axis
        ``"first"`` or ``"last"``: which axis of the datasets of an HDF5 file in another layout is
        time, if the file does not say.
    weights_for
        What weights are needed for ("pruning"): of a run of sketches, the snapshots are opened
        whose weights were kept.

    Raises
    ------
    KoopscopeError
        If it cannot be read, nothing here knows how to read it, or it lacks weights that are
        needed.
    """
    sources = _sources([source] if isinstance(source, (str, os.PathLike)) else source)
    look = _look_at_one(sources)
    if look is None or look.kind != "run file":
        return _foreign(sources, look, key=key, time_axis=time_axis)
    run = _recorded(look, time_axis)
    return _with_weights(run, weights_for) if weights_for else run


def _recorded(look: Look, time_axis: TimeAxis | None) -> RunFile:
    if time_axis is not None:
        look.close()
        raise KoopscopeError(
            f"{look.path} is a run file, in which time is always the first axis",
            "leave --time-axis out",
        )
    with structure.reading(look.path):
        return RunFile(look.path, opened=look.opened)


def _with_weights(run: Run, purpose: str) -> Run:
    try:
        return run.with_weights(purpose)
    except BaseException:
        run.close()
        raise


def open_foreign(
    paths: Sequence[Path | Look],
    *,
    step_pattern: str | None = None,
    keep: Callable[[str], bool] = lambda name: True,
    time_axis: TimeAxis | None = None,
    key: str | None = None,
) -> ForeignRun:
    """Open what is no run file: an HDF5 file in another layout, or checkpoints.

    Parameters
    ----------
    paths
        Files or folders.
    step_pattern, keep
        See ``CheckpointSeries``.
    time_axis
        See ``open_run``; only for a single HDF5 file.
    key
        See ``open_run``.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or nothing here knows how to read it.
    """
    look = _look_at_one(paths)
    if look is not None and look.kind == "run file":
        look.close()
        raise KoopscopeError(
            f"{look.path} is a run file already", "use it as it is: it needs no conversion"
        )
    return _foreign(paths, look, key=key, time_axis=time_axis, step_pattern=step_pattern, keep=keep)


def _foreign(
    sources: Sequence[Path | Look],
    look: Look | None,
    *,
    key: str | None,
    time_axis: TimeAxis | None,
    step_pattern: str | None = None,
    keep: Callable[[str], bool] = lambda name: True,
) -> ForeignRun:
    """Open what is no run file, and was looked at if it stands alone."""
    from koopscope.runs.checkpoints.hdf5_layouts import open_layout
    from koopscope.runs.checkpoints.series import CheckpointSeries
    from koopscope.runs.detect.sources import snapshots_of

    if look is not None and look.readings is not None:
        with structure.reading(look.path):
            return open_layout(look.opened(), look.readings, time_axis)
    if time_axis is not None:
        raise KoopscopeError(
            "a time axis was given for checkpoints with one snapshot each",
            "name one HDF5 file that holds the whole trajectory, or leave --time-axis out",
        )
    torn: list[str] = []
    snapshots = snapshots_of(sources if look is None else [look], key, torn)
    return CheckpointSeries(snapshots, step_pattern=step_pattern, keep=keep, torn=torn)


def open_shards(
    sources: Sequence[Source], *, key: str | None = None, time_axis: TimeAxis | None = None
) -> Run:
    """Open files that together are one run: the same steps, each with some of the tensors.

    Parameters
    ----------
    sources
        The files.
    key, time_axis
        See ``open_run``; the same for all of them.

    Raises
    ------
    KoopscopeError
        If one cannot be read, is missing, or does not belong to the others.
    """
    from koopscope.runs.views.shards import ShardedRun

    with ExitStack() as opened:
        shards = [
            opened.enter_context(open_run(source, key=key, time_axis=time_axis))
            for source in sources
        ]
        run = ShardedRun(shards)
        opened.pop_all()
    return run


def group_sources(paths: Sequence[Source]) -> list[list[Look]]:
    """Sort what a command was given into runs: files with one snapshot each form one series.

    Parameters
    ----------
    paths
        Run files, other HDF5 files, checkpoints and folders, mixed.

    Returns
    -------
    One list per run, in the order of their first members; pass each to ``open_run``. What cannot
    be read stands alone, so that opening it says why.
    """
    runs: list[list[Look]] = []
    series: list[Look] | None = None
    sources = _sources(paths)
    with suppress(KoopscopeError):  # what is wrong with one of them is said where it is opened
        structure.walk_first(sources, open_run)
    for source in sources:
        look = _look_or_unread(Path(source))
        if look.kind == "folder" or not look.holds_one_snapshot:
            runs.append([look])
        elif series is None:
            series = [look]
            runs.append(series)
        else:
            series.append(look)
    return runs


def _sources(sources: Sequence[Source]) -> list[Path | Look]:
    if "" in sources:  # it would be taken for the folder one is in
        raise KoopscopeError("the name of a run is empty", "name a run file")
    return [source if isinstance(source, Look) else Path(source) for source in sources]


def _look_at_one(sources: Sequence[Path | Look]) -> Look | None:
    """Look at a source that stands alone, unless what was seen before still holds."""
    from koopscope.runs.detect.sources import look_at

    structure.walk_first([Path(source) for source in sources], open_run)
    if len(sources) != 1:
        return None
    return patiently(partial(look_at, sources[0]))


def _look_or_unread(path: Path) -> Look:
    """Look at a path; what cannot be read is ``unread``."""
    from koopscope.runs.detect.sources import look_at

    try:
        structure.walk_first([path], open_run)
        if path.is_dir() or path.is_file():
            return look_at(path)
    except KoopscopeError:
        pass
    return Look(path, "unread")
