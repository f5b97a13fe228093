"""Other HDF5 layouts are recognised and read as what they hold, or refused as ambiguous."""

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
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
            if t != 2:
                file[f"step_{t}/b"] = np.ones(2)
    with pytest.raises(KoopscopeError, match=r"step_2 lacks b"):
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
        file["W"] = values
    with open_run(tmp_path / "a.h5") as run:
        assert run.description.format == "HDF5, one [T, N] matrix"
        np.testing.assert_array_equal(read_back(run)["W"], values)


def test_a_matrix_of_weights_by_time_is_recognised_by_its_steps(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["W"], file["step"] = np.zeros((40, 8)), np.arange(8)
    with pytest.raises(KoopscopeError, match=r"step of .* has 8 entries") as caught:
        open_run(tmp_path / "a.h5")
    assert "transpose" in caught.value.hint


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
