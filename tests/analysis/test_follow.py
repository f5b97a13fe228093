"""What following a growing run costs does not grow with it: snapshots read and held are counted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koopscope.analysis import follow
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.follow import Follower
from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5.stacked import StackedRun
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.run import FloatArray, TensorInfo
from koopscope.runs.views.excerpt import Excerpt

MOST = 16


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MOST_FOLLOWED", MOST)


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Snapshots of the tensor that each look reads."""
    read: list[int] = []
    real = StackedRun.read_rows

    def counting(
        run: StackedRun, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        read.append(len(rows))
        real(run, tensor, start, stop, rows, out)

    monkeypatch.setattr(StackedRun, "read_rows", counting)
    return read


def walk(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    steps = np.random.default_rng(0).normal(size=(count, 30)).astype(np.float32)
    return np.cumsum(0.01 * steps, axis=0) + 1.0


def grow(path: Path, rows: np.ndarray[Any, Any], first: int, stop: int) -> None:
    with Recorder(path, mode="resume") as recorder:
        for t in range(first, stop):
            assert recorder.snapshot(10 * t, {"w": rows[t]})


def test_what_a_long_run_costs_stays_bounded(
    tmp_path: Path, few: None, rows_read: list[int]
) -> None:
    path, rows = tmp_path / "run.h5", walk(12 * MOST)
    follower = Follower(path)
    per_snapshot = {}
    for count in range(1, len(rows) + 1):
        grow(path, rows, count - 1, count)
        rows_read.clear()
        follower.look()
        per_snapshot[count] = sum(rows_read)
        assert follower.recorded == count
        assert follower.analysis is not None
        assert follower.analysis.description.snapshots <= MOST
    assert max(per_snapshot.values()) <= MOST
    assert follower.every == 16
    means = [
        np.mean([per_snapshot[k] for k in range(stop // 2 + 1, stop + 1)])
        for stop in (MOST, 4 * MOST, 12 * MOST)
    ]
    assert means[1] < means[0]
    assert means[2] < 0.5 * means[1]


def test_the_snapshots_taken_have_the_matrix_of_a_run_of_them_alone(
    tmp_path: Path, few: None
) -> None:
    path, rows = tmp_path / "run.h5", walk(75)
    follower = Follower(path)
    for before, count in pairwise((0, 10, 20, 33, 60, 75)):
        grow(path, rows, before, count)
        follower.look()
    assert follower.every == 8
    alone = tmp_path / "alone.h5"
    with Recorder(alone) as recorder:
        for t in range(0, 75, 8):
            recorder.snapshot(10 * t, {"w": rows[t]})
    with open_run(alone) as run:
        expected = Analysis.of(run)
    assert follower.analysis is not None
    np.testing.assert_array_equal(follower.analysis.description.steps, expected.description.steps)
    np.testing.assert_allclose(
        follower.analysis.gram().increments, expected.gram().increments, rtol=1e-12
    )


def test_nothing_new_of_those_taken_changes_nothing(tmp_path: Path, few: None) -> None:
    path, rows = tmp_path / "run.h5", walk(40)
    grow(path, rows, 0, 33)
    follower = Follower(path)
    assert follower.look()
    assert follower.every == 4
    grow(path, rows, 33, 35)
    assert not follower.look()
    assert follower.recorded == 35
    grow(path, rows, 35, 37)
    assert follower.look()


@pytest.mark.parametrize("window", [slice(3, 20), slice(0, None, 3), slice(1, 40, 7)])
@pytest.mark.parametrize("weights", [30, 40_000])  # chunks that HDF5 reads, and that are read as is
def test_an_excerpt_reads_its_own_rows_alone(
    tmp_path: Path, rows_read: list[int], window: slice, weights: int
) -> None:
    values = np.random.default_rng(1).normal(size=(40, weights)).astype(np.float32)
    path = tmp_path / "run.h5"
    with Recorder(path) as recorder:
        for t, row in enumerate(values):
            recorder.snapshot(t, {"w": row})
    with open_run(path) as run:
        part = Excerpt(run, window, 1 << 20)
        (tensor,) = part.description.tensors
        out = np.empty((part.description.snapshots, weights - 5), np.float32)
        rows_read.clear()
        part.read(tensor, 5, weights, out)
    np.testing.assert_array_equal(out, values[window, 5:])
    assert rows_read == [len(values[window])]
