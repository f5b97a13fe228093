"""A run file read back is what was recorded, in any blocks, and no row that was not committed."""

import h5py
import numpy as np

from koopscope.runs.opening import open_run
from koopscope.runs.recorder import Recorder


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
