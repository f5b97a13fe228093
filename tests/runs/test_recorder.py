"""What a training loop hands to the recorder is what the file holds, and nothing stops the loop."""

import json

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.recorder import Recorder
from koopscope.runs.runfile import RunFile


def weights(step: int) -> dict[str, np.ndarray]:
    return {
        "layers.0.weight": np.full((3, 4), step, np.float32),
        "layers.0.bias": np.arange(3, dtype=np.float64) + step,
    }


def test_every_snapshot_is_in_the_file_when_the_call_returns(tmp_path):
    recorder = Recorder(tmp_path / "run.h5", metadata={"lr": 1e-3, "path": tmp_path})
    for step in (0, 10, 25):
        assert recorder.snapshot(step, weights(step), loss=1.0 / (step + 1))
        with h5py.File(tmp_path / "run.h5") as file:
            assert file["step"][-1] == step
            np.testing.assert_array_equal(
                file["weights/layers.0.weight"][-1], weights(step)["layers.0.weight"]
            )
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["metrics/loss"][:].tolist() == [1.0, 1 / 11, 1 / 26]
        assert json.loads(file.attrs["metadata"]) == {"lr": 1e-3, "path": str(tmp_path)}


def test_a_step_that_does_not_increase_is_a_wrong_call(tmp_path):
    recorder = Recorder(tmp_path / "run.h5")
    recorder.snapshot(5, weights(5))
    with pytest.raises(KoopscopeError, match="step 5 does not come after step 5"):
        recorder.snapshot(5, weights(5))


def test_a_second_recorder_continues_the_run(tmp_path):
    Recorder(tmp_path / "run.h5").snapshot(1, weights(1))
    Recorder(tmp_path / "run.h5").snapshot(2, weights(2))
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["step"][:].tolist() == [1, 2]


def test_iterates_of_an_operator_are_marked_as_states(tmp_path):
    path = tmp_path / "iterates.h5"
    with Recorder(path, states=["hidden*"]) as recorder:
        for step in range(3):
            recorder.snapshot(step, {"hidden.0": np.zeros(4), "weight": np.zeros(2)})
    with RunFile(path) as run:
        assert {t.name: t.kind for t in run.description.tensors} == {
            "hidden.0": "state",
            "weight": "parameter",
        }


def test_a_file_may_say_at_its_root_that_all_it_holds_are_states(tmp_path):
    path = tmp_path / "iterates.h5"
    Recorder(path, buffers=["mean"]).snapshot(0, {"x": np.zeros(4), "mean": np.zeros(2)})
    with h5py.File(path, "r+") as file:
        file.attrs["kind"] = "state"
    with RunFile(path) as run:
        assert [tensor.kind for tensor in run.description.tensors] == ["state", "buffer"]
