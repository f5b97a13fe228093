"""Open whatever the user named as a run: the one place that decides which reader reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py

from koopscope.runs import safety
from koopscope.runs.labels import FORMAT
from koopscope.runs.run import Run
from koopscope.runs.runfile import RunFile
from koopscope.runs.stacked import patiently

Source = str | os.PathLike[str]


def open_run(source: Source | Sequence[Source]) -> Run:
    """Open a recorded run.

    Parameters
    ----------
    source
        A run file; an HDF5 file in another layout; a folder of checkpoints, or a list of
        checkpoint files with one snapshot each, which are read in place.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or nothing here knows how to read it.
    """
    paths = [Path(source)] if isinstance(source, (str, os.PathLike)) else list(map(Path, source))
    if len(paths) == 1 and not paths[0].is_dir():
        run = _open_file(paths[0])
        if run is not None:
            return run
    from koopscope.runs.checkpoints.series import CheckpointSeries
    from koopscope.runs.checkpoints.sources import snapshots_of

    return CheckpointSeries(snapshots_of(paths))


def group_sources(paths: Sequence[Source]) -> list[list[Path]]:
    """Sort what a command was given into runs: files with one snapshot each form one series.

    Parameters
    ----------
    paths
        Run files, other HDF5 files, checkpoints and folders, mixed.

    Returns
    -------
    One list per run, in the order of their first members; pass each to ``open_run``.

    Raises
    ------
    KoopscopeError
        If a file cannot be read.
    """
    from koopscope.runs.checkpoints.sources import is_single_snapshot

    runs: list[list[Path]] = []
    series: list[Path] | None = None
    for path in map(Path, paths):
        if path.is_dir() or not path.exists() or not is_single_snapshot(path):
            runs.append([path])
        elif series is None:
            series = [path]
            runs.append(series)
        else:
            series.append(path)
    return runs


def _open_file(path: Path) -> Run | None:
    """Open a file that is a run by itself, or return ``None`` if it is one checkpoint."""
    from koopscope.runs.checkpoints.sources import HDF5_SUFFIXES, KINDS, is_keras
    from koopscope.runs.layouts import open_layout

    name = path.name.lower()
    if not name.endswith(HDF5_SUFFIXES) and name.endswith(tuple(KINDS)):
        return None
    if patiently(lambda: _is_run_file(path)):
        return RunFile(path)
    return None if is_keras(path) else open_layout(path)


def _is_run_file(path: Path) -> bool:
    with safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        return safety.text_attribute(h5py.h5g.open(file.id, b"/"), "format") == FORMAT
