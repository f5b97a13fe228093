"""Open whatever the user named as a run: the one place that decides which reader reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import h5py

from koopscope.errors import KoopscopeError
from koopscope.runs.hdf5 import safety, structure
from koopscope.runs.hdf5.stacked import patiently
from koopscope.runs.native.header import FORMAT
from koopscope.runs.native.reader import RunFile
from koopscope.runs.run import Run

if TYPE_CHECKING:
    from koopscope.runs.checkpoints.hdf5_layouts import TimeAxis
    from koopscope.runs.checkpoints.hdf5_trajectories import StackedLayout, TimeLastLayout
    from koopscope.runs.checkpoints.series import CheckpointSeries

Source: TypeAlias = str | os.PathLike[str]
ForeignRun: TypeAlias = "CheckpointSeries | StackedLayout | TimeLastLayout"


def open_run(source: Source | Sequence[Source], *, key: str | None = None) -> Run:
    """Open a recorded run.

    Parameters
    ----------
    source
        A run file; an HDF5 file in another layout; a folder of checkpoints, or a list of
        checkpoint files with one snapshot each, which are read in place.
    key
        Where in each checkpoint of PyTorch the weights lie, if not where they are looked for.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or nothing here knows how to read it.
    """
    paths = _paths([source] if isinstance(source, (str, os.PathLike)) else source)
    structure.walk_first(paths, open_run)
    if len(paths) == 1 and _can_be_run_file(paths[0]):
        with structure.reading(paths[0]):
            if patiently(lambda: is_run_file(paths[0])):
                return RunFile(paths[0])
    return open_foreign(paths, key=key)


def open_foreign(
    paths: Sequence[Path],
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
        See ``koopscope.runs.checkpoints.hdf5_layouts.open_layout``; only for a single HDF5 file.
    key
        See ``open_run``.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or nothing here knows how to read it.
    """
    from koopscope.runs.checkpoints.hdf5_layouts import open_layout
    from koopscope.runs.checkpoints.series import CheckpointSeries
    from koopscope.runs.detect.sources import is_keras, snapshots_of

    structure.walk_first(paths, open_run)
    if len(paths) == 1 and _can_be_run_file(paths[0]):
        with structure.reading(paths[0]):
            if not is_keras(paths[0]):
                if patiently(lambda: is_run_file(paths[0])):
                    raise KoopscopeError(
                        f"{paths[0]} is a run file already",
                        "use it as it is: it needs no conversion",
                    )
                return open_layout(paths[0], time_axis)
    if time_axis is not None:
        raise KoopscopeError(
            "a time axis was given for checkpoints with one snapshot each",
            "name one HDF5 file that holds the whole trajectory, or leave --time-axis out",
        )
    return CheckpointSeries(snapshots_of(paths, key), step_pattern=step_pattern, keep=keep)


def open_shards(sources: Sequence[Source]) -> Run:
    """Open files that together are one run: the same steps, each with some of the tensors.

    Raises
    ------
    KoopscopeError
        If one cannot be read, is missing, or does not belong to the others.
    """
    from koopscope.runs.views.shards import ShardedRun

    with ExitStack() as opened:
        shards = [opened.enter_context(open_run(source)) for source in sources]
        run = ShardedRun(shards)
        opened.pop_all()
    return run


def group_sources(paths: Sequence[Source]) -> list[list[Path]]:
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
    from koopscope.runs.detect.sources import is_single_snapshot

    runs: list[list[Path]] = []
    series: list[Path] | None = None
    for path in _paths(paths):
        try:
            with structure.reading(path):
                one_of_several = path.is_file() and is_single_snapshot(path)
        except KoopscopeError:
            one_of_several = False
        if not one_of_several:
            runs.append([path])
        elif series is None:
            series = [path]
            runs.append(series)
        else:
            series.append(path)
    return runs


def _paths(sources: Sequence[Source]) -> list[Path]:
    if "" in sources:  # it would be taken for the folder one is in
        raise KoopscopeError("the name of a run is empty", "name a run file")
    return [Path(source) for source in sources]


def is_run_file(path: Path) -> bool:
    """Return whether an HDF5 file says that it is a run file.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    with safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        return safety.text_attribute(h5py.h5g.open(file.id, b"/"), "format") == FORMAT


def _can_be_run_file(path: Path) -> bool:
    """Return whether a name is a run file's: it may end in anything that no other kind claims."""
    from koopscope.runs.checkpoints.refused import SUFFIXES
    from koopscope.runs.checkpoints.torch.snapshots import is_torch
    from koopscope.runs.detect.sources import HDF5_SUFFIXES, KINDS

    name = path.name.lower()
    if path.is_dir() or name.endswith(HDF5_SUFFIXES):
        return not path.is_dir()
    return not name.endswith((*KINDS, *SUFFIXES)) and not is_torch(path)
