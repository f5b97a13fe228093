"""A run file read back is what was recorded, in any blocks, and no row that was not committed."""

import h5py
import numpy as np
import pytest

from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5 import stacked
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.run import usual_kind


def recorded(path, trajectories, steps, **metrics):
    recorder = Recorder(path)
    for row, step in enumerate(steps):
        snapshot = {name: values[row] for name, values in trajectories.items()}
        recorder.snapshot(step, snapshot, **{name: values[row] for name, values in metrics.items()})
    return path


def read_back(run, block_bytes=64):
    gathered = {}
    for block in run.blocks(block_bytes=block_bytes):
        gathered.setdefault(block.tensor.name, []).append(block.values.copy())
    return {name: np.concatenate(parts, axis=1) for name, parts in gathered.items()}


def test_blocks_put_together_are_the_trajectory(tmp_path):
    rng = np.random.default_rng(0)
    trajectories = {
        "a.weight": rng.standard_normal((5, 7, 3, 4)).astype(np.float32),
        "a.bias": rng.standard_normal((5, 7)),
        "scale": rng.standard_normal(5).astype(np.float16),
    }
    path = recorded(tmp_path / "run.h5", trajectories, [0, 1, 5, 9, 10], loss=[5, 4, 3, None, 1])
    with open_run(path) as run:
        assert run.description.steps.tolist() == [0, 1, 5, 9, 10]
        assert [tensor.name for tensor in run.description.tensors] == list(trajectories)
        np.testing.assert_array_equal(run.description.metrics["loss"], [5, 4, 3, np.nan, 1])
        for name, values in read_back(run).items():
            assert values.dtype == trajectories[name].dtype
            np.testing.assert_array_equal(values, trajectories[name].reshape(5, -1))


def test_rows_without_a_step_are_an_interrupted_write_and_ignored(tmp_path):
    trajectories = {"w": np.arange(12, dtype=np.float32).reshape(4, 3)}
    path = recorded(tmp_path / "run.h5", trajectories, range(4))
    with h5py.File(path, "r+") as file:
        file["step"].resize(3, axis=0)
    with open_run(path) as run:
        assert run.description.snapshots == 3
        assert any("interrupted" in note for note in run.description.notes)
        np.testing.assert_array_equal(read_back(run)["w"], trajectories["w"][:3])


FILTERS = [{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}, {"fletcher32": 1}]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("chunks", [(1, 100, 7), (4, 20, 3), (10, 1, 7), None])
@pytest.mark.parametrize("cache", [2**20, 0])
def test_any_chunks_and_filters_are_read_twice_over(tmp_path, monkeypatch, filters, chunks, cache):
    monkeypatch.setattr(stacked, "CACHE_BYTES", cache)
    rng = np.random.default_rng(0)
    trajectories = {name: rng.standard_normal((10, 200, 7)) for name in ("first", "second")}
    path = recorded(tmp_path / "run.h5", {"w": np.zeros((10, 2))}, range(10))
    with h5py.File(path, "r+") as file:
        del file["weights/w"]
        for name, values in trajectories.items():
            options = filters if chunks else {}
            file["weights"].create_dataset(name, data=values, chunks=chunks, **options)
    with open_run(path) as run:
        for _ in range(2):
            for name, values in read_back(run, block_bytes=4000).items():
                np.testing.assert_array_equal(values, trajectories[name].reshape(10, -1))


def test_ranges_that_cross_rows_and_axes_are_read_too(tmp_path):
    values = np.arange(3 * 4 * 5 * 6, dtype=np.float32).reshape(3, 4, 5, 6)
    path = recorded(tmp_path / "run.h5", {"w": values, "b": values.astype(np.float16)}, range(3))
    with open_run(path) as run:
        for tensor in run.description.tensors:
            for start, stop in [(0, 120), (1, 2), (5, 37), (29, 120), (31, 59), (7, 7)]:
                out = np.full((3, stop - start), -1, run.read_dtype(tensor))
                run.read(tensor, start, stop, out)
                expected = values.reshape(3, -1)[:, start:stop].astype(out.dtype)
                np.testing.assert_array_equal(out, expected)


def test_a_reader_keeps_to_the_snapshots_it_opened_with(tmp_path):
    path = tmp_path / "run.h5"
    recorder = Recorder(path)
    recorder.snapshot(0, {"w": np.zeros(3)}, loss=0)
    with open_run(path) as early:
        recorder.snapshot(1, {"w": np.ones(3)}, loss=1)
        with open_run(path) as late:
            assert late.description.snapshots == 2
            np.testing.assert_array_equal(read_back(late)["w"], [[0, 0, 0], [1, 1, 1]])
        np.testing.assert_array_equal(read_back(early)["w"], [[0, 0, 0]])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("blocks.0.norm.running_var", "buffer"),
        ("net/norm/moving_mean", "buffer"),
        ("batch_stats/norm/mean", "buffer"),
        ("blocks.0.norm.weight", "parameter"),
        ("running_mean_head.weight", "parameter"),
    ],
)
def test_a_name_says_what_a_file_leaves_out(name, kind):
    assert usual_kind(name) == kind
