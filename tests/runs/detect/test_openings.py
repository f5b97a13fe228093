"""A file is looked at once and opened once, however many there are and whatever is in them.

Counts what Python and HDF5 open, so that it grows with the files alone: no clock is asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.runs import handover
from koopscope.runs.detect.opening import open_run
from tests.calling import called
from tests.openings import openings
from tests.recorded import recorded, settling
from tests.runs.checkpoints.pickles import archive, mapping, tensor
from tests.series_files import write_safetensors, write_series

Write = Callable[[Path, int, int], None]


def trajectories(tensors: int, snapshots: int) -> dict[str, np.ndarray]:
    return settling({f"layer{i}.weight": (4, 3) for i in range(tensors)}, snapshots=snapshots)


def native(folder: Path, snapshots: int, tensors: int) -> None:
    recorded(folder / "run.h5", trajectories(tensors, snapshots))


def stacked(folder: Path, snapshots: int, tensors: int) -> None:
    with h5py.File(folder / "run.h5", "w") as file:
        file["step"] = np.arange(snapshots)
        for name, values in trajectories(tensors, snapshots).items():
            file[name] = values


def time_last(folder: Path, snapshots: int, tensors: int) -> None:
    with h5py.File(folder / "run.h5", "w") as file:
        file["step"] = np.arange(snapshots)
        for name, values in trajectories(tensors, snapshots).items():
            file[name] = np.moveaxis(values, 0, -1)


def grouped(folder: Path, snapshots: int, tensors: int) -> None:
    with h5py.File(folder / "run.h5", "w") as file:
        for name, values in trajectories(tensors, snapshots).items():
            for step in range(snapshots):
                file[f"step_{step}/{name}"] = values[step]


def safetensors(folder: Path, snapshots: int, tensors: int) -> None:
    run = trajectories(tensors, snapshots)
    for step in range(snapshots):
        at = {name: values[step] for name, values in run.items()}
        write_safetensors(
            folder / f"model_{step}.safetensors", {**at, "step": np.array(step, np.int64)}
        )


def torch(folder: Path, snapshots: int, tensors: int) -> None:
    for step in range(snapshots):
        values = np.full(6, 1.0 + 0.5**step, np.float32)
        pickle = mapping(weight=tensor("0", (3, 2), (2, 1), 6), val_loss=tensor("1", (), (), 1))
        loss = np.float32(step).tobytes()
        archive(folder / f"model_{step}.pt", pickle, {"0": values.tobytes(), "1": loss})


def series(suffix: str, folder: Path, snapshots: int, tensors: int) -> None:
    write_series(folder, suffix, snapshots)


ONE_FILE = [native, stacked, time_last, grouped]
SERIES = [
    safetensors,
    torch,
    *(partial(series, suffix) for suffix in (".h5", ".npz", ".safetensors")),
]


def written(write: Write, folder: Path, snapshots: int, tensors: int = 2) -> Path:
    """Write a run whose files are older than the grain of any clock."""
    folder.mkdir()
    write(folder, snapshots, tensors)
    for path in folder.iterdir():
        os.utime(path, ns=(0, 10**18))
    return folder


@pytest.mark.parametrize("write", ONE_FILE)
@pytest.mark.parametrize(("snapshots", "tensors"), [(6, 2), (40, 2), (6, 60)])
def test_the_file_of_a_run_is_opened_once(
    tmp_path: Path, write: Write, snapshots: int, tensors: int
) -> None:
    folder = written(write, tmp_path / "run", snapshots, tensors)
    with openings(folder) as counts, open_run(folder / "run.h5") as run:
        assert len(list(run.blocks())) == len(run.description.tensors) == tensors
    assert counts == {"run.h5": 1}


@pytest.mark.parametrize("write", SERIES)
@pytest.mark.parametrize("snapshots", [3, 12])
def test_each_checkpoint_of_a_series_is_opened_once(
    tmp_path: Path, write: Write, snapshots: int
) -> None:
    folder = written(write, tmp_path / "run", snapshots)
    with openings(folder) as counts, open_run(folder) as run:
        assert run.description.snapshots == snapshots
        assert list(run.blocks())
    assert counts == {path.name: 1 for path in folder.iterdir()}


@pytest.mark.parametrize("write", [*ONE_FILE, *SERIES[:3]])
def test_so_it_is_by_a_command(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(write, tmp_path / "run", 8)
    paths = sorted(folder.iterdir())
    with openings(folder) as counts:
        code, _, complaints = called(capsys, "analyze", *paths)
    assert (code, complaints.count("error:")) == (0, 0)
    assert counts == {path.name: 1 for path in paths}


def test_several_runs_are_opened_once_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(native, tmp_path / "run", 8)
    for number in range(5):
        recorded(folder / f"run-{number}.h5", trajectories(2, 8))
        os.utime(folder / f"run-{number}.h5", ns=(0, 10**18))
    with openings(folder) as counts:
        assert called(capsys, "analyze", *folder.iterdir())[0] == 0
    assert counts == {path.name: 1 for path in folder.iterdir()}


def test_a_run_that_was_written_to_a_moment_ago_is_opened_twice(tmp_path: Path) -> None:
    """HDF5 fixes where a file ends when it opens it, so snapshots are counted before that."""
    folder = written(native, tmp_path / "run", 6)
    os.utime(folder / "run.h5", ns=(0, time.time_ns() + 10**10))
    with openings(folder) as counts, open_run(folder / "run.h5") as run:
        assert run.description.snapshots == 6
    assert counts["run.h5"] == 2


def test_more_files_than_may_wait_are_opened_again_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MOST_FILES", 4)
    folder = written(SERIES[0], tmp_path / "run", 7)
    with openings(folder) as counts, open_run(folder) as run:
        assert list(run.blocks())
    assert sorted(counts.values()) == [1, 1, 1, 1, 2, 2, 2]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nobody lists open files")
@pytest.mark.parametrize("write", [*ONE_FILE, *SERIES])
def test_what_was_looked_at_and_not_read_is_closed(tmp_path: Path, write: Write) -> None:
    folder = written(write, tmp_path / "run", 4)
    sources = [folder / "run.h5"] if write in ONE_FILE else sorted(folder.iterdir())
    before = len(os.listdir("/proc/self/fd"))
    koopscope.open_run(sources).close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not handover._waiting
