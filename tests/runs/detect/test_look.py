"""A path is looked at once: how often its file is opened, and that what was seen is never stale."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.look import Look
from koopscope.runs.detect.opening import group_sources, open_run
from koopscope.runs.detect.sources import look_at
from koopscope.runs.hdf5 import safety
from tests.recorded import recorded, settling

SHAPES = {"a.weight": (4, 3), "b.bias": (5,)}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened as HDF5 to look at its structure."""
    counts: Counter[str] = Counter()
    real = safety.open_hdf5

    def counting(path: Path) -> h5py.File:
        counts[path.name] += 1
        return real(path)

    monkeypatch.setattr(safety, "open_hdf5", counting)
    return counts


def stacked(path: Path, snapshots: int = 6) -> Path:
    with h5py.File(path, "w") as file:
        file["step"] = np.arange(snapshots)
        for name, values in settling(SHAPES, snapshots=snapshots).items():
            file[name] = values
    return path


def grouped(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for step in range(4):
            for name, values in settling(SHAPES, snapshots=4).items():
                file[f"step_{step}/{name}"] = values[step]
    return path


def single(path: Path, step: int = 0) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["step"] = step
        for name, values in settling(SHAPES, snapshots=4).items():
            file[name] = values[step % 4]
    return path


def run_file(path: Path) -> Path:
    return recorded(path, settling(SHAPES, snapshots=6))


def at_rest(path: Path) -> Path:
    """Let a file be older than the grain of any clock."""
    os.utime(path, ns=(0, 10**18))
    return path


@pytest.mark.parametrize("write", [run_file, stacked, grouped])
def test_a_command_opens_a_trajectory_once(
    tmp_path: Path, opened: Counter[str], write: Callable[[Path], Path]
) -> None:
    path = at_rest(write(tmp_path / "run.h5"))
    opened.clear()
    ((look,),) = group_sources([path])
    with open_run([look]) as run:
        assert list(run.blocks())
    assert opened == {"run.h5": 1}


@pytest.mark.parametrize("write", [run_file, stacked, grouped])
def test_so_does_a_program(
    tmp_path: Path, opened: Counter[str], write: Callable[[Path], Path]
) -> None:
    path = at_rest(write(tmp_path / "run.h5"))
    opened.clear()
    with open_run(path) as run:
        assert list(run.blocks())
    assert opened == {"run.h5": 1}


def test_a_run_file_that_may_be_written_to_is_opened_again_with_what_was_counted_before(
    tmp_path: Path, opened: Counter[str]
) -> None:
    path = run_file(tmp_path / "run.h5")
    os.utime(path, ns=(time.time_ns() + 10**9,) * 2)
    opened.clear()
    with open_run(path) as run:
        assert run.description.snapshots == 6
    assert opened == {"run.h5": 2}


def test_a_checkpoint_of_a_series_is_opened_once(tmp_path: Path, opened: Counter[str]) -> None:
    paths = [single(tmp_path / f"w_{step}.h5", step) for step in range(3)]
    (group,) = group_sources(paths)
    with open_run(group) as run:
        assert run.description.snapshots == 3
        assert list(run.blocks())
    assert opened == {path.name: 1 for path in paths}


def test_what_is_no_hdf5_is_not_opened_as_such(tmp_path: Path, opened: Counter[str]) -> None:
    np.savez(tmp_path / "w.npz", w=np.ones(3))
    assert look_at(tmp_path / "w.npz").kind == "checkpoint"
    assert look_at(tmp_path).kind == "folder"
    assert not opened


@pytest.mark.parametrize(
    ("write", "kind", "is_one_of_several"),
    [
        (run_file, "run file", False),
        (stacked, "HDF5 file", False),
        (grouped, "HDF5 file", False),
        (single, "HDF5 file", True),
    ],
)
def test_a_look_tells_the_kind(
    tmp_path: Path, write: Callable[[Path], Path], kind: str, is_one_of_several: bool
) -> None:
    look = look_at(write(tmp_path / "run.h5"))
    assert (look.kind, look.holds_one_snapshot) == (kind, is_one_of_several)
    assert os.fspath(look) == str(look) == str(tmp_path / "run.h5")
    assert look.is_current()


def test_of_a_run_file_the_look_counts_what_is_committed(tmp_path: Path) -> None:
    with koopscope.Recorder(tmp_path / "run.h5") as recorder:
        for step in range(5):
            recorder.snapshot(step, {"w": np.full(3, float(step), np.float32)})
    committed = look_at(tmp_path / "run.h5").committed
    assert committed is not None
    assert (committed.snapshots, committed.generation) == (5, 0)


def test_snapshots_recorded_since_the_look_are_there(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with koopscope.Recorder(path) as recorder:
        for step in range(4):
            recorder.snapshot(step, {"w": np.full(3, float(step), np.float32)})
        ((look,),) = group_sources([path])
        for step in range(4, 7):
            recorder.snapshot(step, {"w": np.full(3, float(step), np.float32)})
        with open_run(look) as run:
            assert run.description.steps.tolist() == list(range(7))


def test_a_look_at_another_file_of_the_same_name_is_not_believed(tmp_path: Path) -> None:
    path = run_file(tmp_path / "run.h5")
    look = look_at(path)
    shutil.move(stacked(tmp_path / "other.h5", snapshots=9), path)
    assert not look.is_current()
    with open_run(look) as run:
        assert run.description.snapshots == 9
        assert "stacked" not in run.description.format
        assert run.description.format.startswith("HDF5")


def test_a_count_from_before_snapshots_were_taken_out_is_not_believed(tmp_path: Path) -> None:
    """As if the file's time of change were too coarse to show it."""
    from koopscope.runs.native.reader import RunFile

    path = tmp_path / "run.h5"
    with koopscope.Recorder(path) as recorder:
        for step in range(6):
            recorder.snapshot(step, {"w": np.full(3, float(step), np.float32)})
    before = look_at(path).committed
    with koopscope.Recorder(path, resume_from=2) as recorder:
        recorder.snapshot(3, {"w": np.full(3, 30.0, np.float32)})
    with RunFile(path, before) as run:
        assert run.description.steps.tolist() == [0, 1, 2, 3]
        assert run.description.generation == 1


def test_what_cannot_be_read_stands_alone_and_opening_it_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    ((broken,), (missing,)) = group_sources([tmp_path / "broken.h5", tmp_path / "none.h5"])
    assert broken == Look(tmp_path / "broken.h5", "unread")
    with pytest.raises(KoopscopeError, match=r"broken\.h5 cannot be read"):
        open_run([broken])
    with pytest.raises(KoopscopeError, match="does not exist"):
        open_run([missing])
