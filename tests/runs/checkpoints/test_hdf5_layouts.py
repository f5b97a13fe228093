"""Other HDF5 layouts are recognised and read as what they hold, or refused as ambiguous."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_foreign, open_run
from tests.series_files import trajectory


def read_back(run):
    return {
        tensor.name: np.concatenate([b.values.copy() for b in run.blocks([tensor])], axis=1)
        for tensor in run.description.tensors
    }


def assert_is_trajectory(run, expected, slashes=True):
    found = read_back(run)
    assert set(found) == {n.replace(".", "/") if slashes else n for n in expected}
    for name, values in found.items():
        wanted = expected[name.replace("/", ".")]
        np.testing.assert_array_equal(values, wanted.reshape(len(values), -1))


@pytest.mark.parametrize("name", ["step_{}", "epoch{}", "{}", "snapshots/{}", "run/checkpoint-{}"])
def test_a_group_per_step(tmp_path, name):
    expected = trajectory(12)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for t in range(12):
            for tensor, values in expected.items():
                file[f"{name.format(10 * t)}/{tensor.replace('.', '/')}"] = values[t]
            file[f"{name.format(10 * t)}/loss"] = 1.0 / (1 + t)
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.format == "HDF5, a group per step"
        assert run.description.steps.tolist() == list(range(0, 120, 10))
        np.testing.assert_array_equal(run.description.metrics["loss"], 1 / np.arange(1, 13))
        assert_is_trajectory(run, expected)


def test_a_step_attribute_of_the_group_comes_before_its_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for t in range(3):
            file[f"epoch_{t}/w"] = np.full(4, t, np.float32)
            file[f"epoch_{t}"].attrs["step"] = 7 * t + 1
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.steps.tolist() == [1, 8, 15]


def test_a_group_that_lacks_a_tensor_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for t in range(3):
            file[f"step_{t}/w"] = np.ones(4)
            if t != 1:
                file[f"step_{t}/b"] = np.ones(2)
    with pytest.raises(KoopscopeError, match=r"step_1 lacks b"):
        open_run(tmp_path / "a.h5")


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}])
def test_time_first_datasets_with_their_steps_and_metrics(tmp_path, options):
    expected = trajectory(12)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for tensor, values in expected.items():
            file.create_dataset(f"weights/{tensor}", data=values, **options)
        file["weights/scale"] = np.arange(12, dtype=np.float32)
        file["epoch"] = np.arange(3, 15)
        file["grad_norm"] = np.linspace(1, 0, 12)
        file["classes"] = np.arange(10)
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.format == "HDF5, [T, ...] datasets"
        assert run.description.steps.tolist() == list(range(3, 15))
        assert list(run.description.metrics) == ["grad_norm"]
        assert [skip.name for skip in run.description.skipped] == ["classes"]
        found = read_back(run)
        np.testing.assert_array_equal(found["weights/scale"].ravel(), np.arange(12))
        for tensor, values in expected.items():
            np.testing.assert_array_equal(found[f"weights/{tensor}"], values.reshape(12, -1))


def test_time_first_datasets_without_steps_are_numbered(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["fc1"], file["fc2"] = np.zeros((5, 3, 2)), np.zeros((5, 4))
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.steps.tolist() == [0, 1, 2, 3, 4]
        assert "numbered from 0" in run.description.notes[0]


def test_one_matrix_of_time_by_weights(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 40))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"], file["step"] = values, np.arange(8)
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.format == "HDF5, one [T, N] matrix"
        np.testing.assert_array_equal(read_back(run)["W"], values)


def test_a_matrix_of_weights_by_time_is_recognised_by_its_steps(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"], file["step"] = np.arange(320.0).reshape(40, 8), np.arange(8)
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.format == "HDF5, one [N, T] matrix"
        np.testing.assert_array_equal(read_back(run)["W"], np.arange(320.0).reshape(40, 8).T)


def test_steps_that_fit_neither_axis_are_an_error(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"], file["step"] = np.zeros((40, 8)), np.arange(20)
    with pytest.raises(KoopscopeError, match=r"step of .* has 20 entries"):
        open_run(tmp_path / "a.h5")


def test_a_wide_matrix_alone_can_be_read_in_two_ways(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"] = np.zeros((8, 40))
    with pytest.raises(KoopscopeError, match=r"\[T, N\] matrix or as one \[N, T\]") as caught:
        open_run(tmp_path / "a.h5")
    assert "--time-axis" in caught.value.hint


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
@pytest.mark.parametrize("options", [{}, {"chunks": (3, 5), "compression": "gzip"}])
def test_the_time_axis_that_is_said_is_read(tmp_path, dtype, options):
    values = np.random.default_rng(0).normal(size=(30, 20)).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("W", data=values, **options)
    for axis, expected in (("first", values), ("last", values.T)):
        with open_foreign([tmp_path / "a.h5"], time_axis=axis) as run:
            np.testing.assert_array_equal(read_back(run)["W"], expected)
            row = np.empty(7, run.read_dtype(run.description.tensors[0]))
            run.read_snapshot(3, run.description.tensors[0], 2, 9, row)
            np.testing.assert_array_equal(row, expected[3, 2:9])


def test_time_last_in_several_datasets_is_told_by_their_steps(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 3, 12))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kernel"], file["out"] = values, values[0]
        file["epoch"], file["loss"] = np.arange(12)[None], np.linspace(1, 0, 12)[None]
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.format == "HDF5, [..., T] datasets"
        assert {t.name: t.shape for t in run.description.tensors} == {"kernel": (4, 3), "out": (3,)}
        np.testing.assert_array_equal(run.description.metrics["loss"], np.linspace(1, 0, 12))
        np.testing.assert_array_equal(read_back(run)["kernel"], values.reshape(12, 12).T)


@pytest.mark.parametrize("shape", [(60, 1), (1, 60), (60,)])
def test_columns_of_steps_and_metrics_are_no_weights(tmp_path, shape):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"] = np.zeros((60, 40))
        file["step"] = (100.0 * np.arange(60)).reshape(shape)
        for name in ("loss", "val_loss", "lr", "time"):
            file[name] = np.arange(60.0).reshape(shape)
    with open_run(tmp_path / "a.h5") as run:
        assert [tensor.name for tensor in run.description.tensors] == ["X"]
        assert run.description.steps.tolist() == list(range(0, 6000, 100))
        assert set(run.description.metrics) == {"loss", "val_loss", "lr", "time"}
        np.testing.assert_array_equal(run.description.metrics["loss"], np.arange(60.0))


def test_steps_that_begin_again_are_said_to(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"], file["step"] = np.zeros((6, 8)), [0, 10, 20, 0, 10, 20]
    with pytest.raises(
        KoopscopeError, match="0 follows 20, so that training began anew at entry 4"
    ):
        open_run(tmp_path / "a.h5")


@pytest.mark.parametrize("torn", ["step", "W", "b"])
def test_a_writer_that_died_between_datasets_costs_the_last_snapshot(tmp_path, torn):
    lengths = dict.fromkeys(("step", "W", "b"), 20) | {torn: 19}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"] = np.arange(100.0).reshape(20, 5)[: lengths["W"]]
        file["b"] = np.arange(40.0).reshape(20, 2)[: lengths["b"]]
        file["step"] = np.arange(lengths["step"])
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.steps.tolist() == list(range(19))
        assert "19 of 20 are whole" in run.description.notes[-1]
        np.testing.assert_array_equal(read_back(run)["W"], np.arange(95.0).reshape(19, 5))
        assert {tensor.name for tensor in run.description.tensors} == {"W", "b"}


def test_room_made_for_a_row_that_was_never_written_is_not_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("W", (20, 800), "f4", chunks=(1, 100))[:19] = 1.0
        file["step"] = np.arange(20)
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.snapshots == 19
        assert read_back(run)["W"].min() == 1.0


@pytest.mark.parametrize("size", [512, 1024, 4096])
def test_a_user_block_lies_in_front(tmp_path, size):
    expected = trajectory(12)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=size) as file:
        for name, values in expected.items():
            file[name] = values
        file["step"] = np.arange(12)
    with open(tmp_path / "a.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124))
    with open_run(tmp_path / "a.mat") as run:
        assert_is_trajectory(run, expected, slashes=False)


_WRITER = """
import h5py, sys, time
file = h5py.File(sys.argv[1], "w", libver="latest")
weights = file.create_dataset("W", (0, 50), "f4", maxshape=(None, 50), chunks=(1, 50))
steps = file.create_dataset("step", (0,), "i8", maxshape=(None,), chunks=(64,))
if sys.argv[2] == "swmr":
    file.swmr_mode = True
for t in range(30):
    weights.resize(t + 1, 0)
    weights[t] = t
    weights.flush()
    steps.resize(t + 1, 0)
    steps[t] = 10 * t
    steps.flush()
file.flush()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("mode", ["swmr", "alone"])
def test_a_file_is_read_while_it_is_written_and_after_its_writer_died(tmp_path, mode):
    path = tmp_path / "a.h5"
    environment = {**os.environ, "HDF5_USE_FILE_LOCKING": "FALSE"}
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), mode], stdout=subprocess.PIPE, env=environment
    ) as writer:
        try:
            writer.stdout.readline()
            while_written = _all_of(path)
        finally:
            writer.kill()
    before = path.read_bytes()
    for steps, weights in (while_written, _all_of(path)):
        assert steps == list(range(0, 300, 10))
        np.testing.assert_array_equal(weights, np.repeat(np.arange(30.0)[:, None], 50, 1))
    assert path.read_bytes() == before


def _all_of(path):
    with open_run(path) as run:
        return run.description.steps.tolist(), read_back(run)["W"]


def test_state_of_the_optimizer_masks_and_numbers_are_no_weights(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for t in range(3):
            group = file.create_group(f"step_{t}")
            group["hypernet/scaler/weight"] = np.full((3, 4), t, np.float32)
            group["layer/weight_orig"] = np.ones((3, 4))
            group["layer/weight_mask"] = np.ones((3, 4))
            group["optimizer/exp_avg"] = np.ones((3, 4))
            group["global_step"], group["val_loss"] = 50 * t, 0.5
    with open_run(tmp_path / "a.h5") as run:
        names = {tensor.name for tensor in run.description.tensors}
        assert names == {"hypernet/scaler/weight", "layer/weight_orig"}
        assert {skip.name: skip.reason for skip in run.description.skipped} == {
            "layer/weight_mask": "a mask, not a weight",
            "optimizer/exp_avg": "state of the optimizer, not a weight",
        }
        assert run.description.steps.tolist() == [0, 50, 100]
        np.testing.assert_array_equal(run.description.metrics["val_loss"], [0.5] * 3)


@pytest.mark.parametrize(
    "shapes", [{"W": (40, 8)}, {"fc/kernel": (8, 8), "fc/bias": (8,)}, {"a": (5, 3), "b": (5,)}]
)
def test_what_can_be_read_in_two_ways_is_an_error_that_says_what_would_settle_it(tmp_path, shapes):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, shape in shapes.items():
            file[name] = np.zeros(shape)
    with pytest.raises(KoopscopeError, match=r"can be read as .* or as one snapshot") as caught:
        open_run(tmp_path / "a.h5")
    assert "`step`" in caught.value.hint


def test_a_file_with_one_snapshot_asks_for_the_series(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["fc/kernel"], file["fc/bias"] = np.zeros((8, 4)), np.zeros(4)
    with pytest.raises(KoopscopeError, match="one snapshot"):
        open_run(tmp_path / "a.h5")


def test_steps_that_do_not_increase_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"], file["step"] = np.zeros((3, 8)), [1, 3, 3]
    with pytest.raises(KoopscopeError, match="3 follows 3"):
        open_run(tmp_path / "a.h5")


def test_rows_that_were_never_written_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("W", (4, 800), "f4", chunks=(1, 100))[:2] = 1.0
        file["step"] = np.arange(4)
    with pytest.raises(KoopscopeError, match=r"W of .* lacks 6400 bytes"):
        open_run(tmp_path / "a.h5")


def test_virtual_datasets_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["W"] = np.zeros((4, 8))
    virtual = h5py.VirtualLayout((4, 8), "f8")
    virtual[:] = h5py.VirtualSource(tmp_path / "b.h5", "W", (4, 8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("W", virtual)
    with pytest.raises(KoopscopeError, match="virtual dataset"):
        open_run(tmp_path / "a.h5")
