"""What a training loop hands to the recorder is what the file holds, and nothing stops the loop."""

import fcntl
import json
import time
import warnings

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native import recorder as recorder_module
from koopscope.runs.native.recorder import Recorder
from tests.frameworks import framework


def weights(step: int) -> dict[str, np.ndarray]:
    return {
        "layers.0.weight": np.full((3, 4), step, np.float32),
        "layers.0.bias": np.arange(3, dtype=np.float64) + step,
    }


def read_back(path):
    with open_run(path) as run:
        gathered = {tensor.name: [] for tensor in run.description.tensors}
        for block in run.blocks():
            gathered[block.tensor.name].append(block.values.copy())
        return run.description, {
            name: np.concatenate(parts, axis=1) for name, parts in gathered.items()
        }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def test_every_snapshot_is_in_the_file_when_the_call_returns(path, tmp_path):
    recorder = Recorder(path, metadata={"lr": 1e-3, "path": tmp_path, "bad": float("nan")})
    for step in (0, 10, 25):
        assert recorder.snapshot(step, weights(step), loss=1.0 / (step + 1))
        with h5py.File(path) as file:
            assert file["step"][-1] == step
            np.testing.assert_array_equal(
                file["weights/layers.0.weight"][-1], weights(step)["layers.0.weight"]
            )
    with h5py.File(path) as file:
        assert file["metrics/loss"][:].tolist() == [1.0, 1 / 11, 1 / 26]
        said = {"lr": 1e-3, "path": str(tmp_path), "bad": "nan"}
        assert json.loads(file.attrs["metadata"]) == said


def test_tensors_keep_their_order_in_the_model(path):
    names = ["z.weight", "a.weight", "m/second", "m/first", "a.bias"]
    Recorder(path).snapshot(0, {name: np.zeros(2, np.float32) for name in names})
    assert [tensor.name for tensor in read_back(path)[0].tensors] == names


def test_a_second_recorder_continues_the_run(path):
    Recorder(path).snapshot(1, weights(1), loss=1)
    Recorder(path).snapshot(2, weights(2), loss=2)
    description, _ = read_back(path)
    assert description.steps.tolist() == [1, 2]
    assert description.metrics["loss"].tolist() == [1, 2]


def test_training_resumed_from_a_checkpoint_drops_the_snapshots_after_it(path):
    recorder = Recorder(path)
    for step in range(6):
        recorder.snapshot(step, weights(step), loss=step)
    resumed = Recorder(path, resume_from=2)
    assert read_back(path)[0].steps.tolist() == [0, 1, 2]
    resumed.snapshot(4, weights(40), loss=40)
    description, values = read_back(path)
    assert description.steps.tolist() == [0, 1, 2, 4]
    assert description.metrics["loss"].tolist() == [0, 1, 2, 40]
    assert values["layers.0.weight"][:, 0].tolist() == [0, 1, 2, 40]


def test_a_metric_that_appears_late_or_not_always_is_nan_where_it_was_not_given(path):
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0), loss=3)
    recorder.snapshot(1, weights(1), loss=np.float32(2), accuracy=0.5)
    recorder.snapshot(2, weights(2), accuracy=None)
    recorder.snapshot(3, weights(3), loss=np.array([1.0]).sum())
    metrics = read_back(path)[0].metrics
    np.testing.assert_array_equal(metrics["loss"], [3, 2, np.nan, 1])
    np.testing.assert_array_equal(metrics["accuracy"], [np.nan, 0.5, np.nan, np.nan])


def test_metric_names_may_nest_and_one_that_cannot_be_stored_costs_only_itself(path):
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0), **{"train/loss": 1, "loss": 2})
    with pytest.warns(RuntimeWarning, match="metric 'loss/val' is not storable"):
        recorder.snapshot(1, weights(1), **{"train/loss": 3, "loss": 4, "loss/val": 5})
    metrics = read_back(path)[0].metrics
    assert {name: values.tolist() for name, values in metrics.items()} == {
        "train/loss": [1, 3],
        "loss": [2, 4],
    }


def test_a_loss_that_still_has_its_graph_is_taken_without_a_word(path):
    torch = framework("torch")
    warnings.simplefilter("error")
    loss = torch.ones((), requires_grad=True, dtype=torch.bfloat16) * 2
    Recorder(path).snapshot(0, weights(0), loss=loss)
    assert read_back(path)[0].metrics["loss"].tolist() == [2]


def test_what_is_no_tensor_of_floats_is_named_once_and_listed_in_the_file(path):
    snapshot = {**weights(0), "batches": np.array(3), "note": "text", "none": np.zeros((0, 2))}
    recorder = Recorder(path)
    with pytest.warns(RuntimeWarning, match="batches: int64 values") as caught:
        recorder.snapshot(0, snapshot)
    recorder.snapshot(1, snapshot)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    skipped = {entry.name: entry.reason for entry in read_back(path)[0].skipped}
    assert set(skipped) == {"batches", "note", "none"}
    assert skipped["note"] == "not a tensor but a str"


def test_names_that_hdf5_cannot_hold_are_skipped_not_bent(path):
    odd = ["", ".", "/a", "a//b", "a/", "a/./b", "nul\0", "layers.0.weight/inner"]
    with pytest.warns(RuntimeWarning, match="not storable"):
        Recorder(path).snapshot(0, {**weights(0), **dict.fromkeys(odd, np.zeros(2))})
    description, _ = read_back(path)
    assert [tensor.name for tensor in description.tensors] == list(weights(0))
    assert len(description.skipped) == len(odd)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"layers.0.weight": np.zeros((3, 5), np.float32)}, "has shape \\[3, 5\\] instead of"),
        ({"layers.0.weight": np.zeros((3, 4), np.int32)}, "is int32 values"),
        ({}, "is missing"),
    ],
)
def test_a_tensor_that_changes_or_vanishes_ends_and_the_others_go_on(path, later, message):
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0))
    with pytest.warns(RuntimeWarning, match=message) as caught:
        recorder.snapshot(1, {"layers.0.bias": weights(1)["layers.0.bias"], **later})
    recorder.snapshot(2, weights(2))
    assert len(caught) == 1
    description, values = read_back(path)
    assert [tensor.name for tensor in description.tensors] == ["layers.0.bias"]
    assert [entry.reason for entry in description.skipped] == ["recorded in only 1 of 3 snapshots"]
    assert values["layers.0.bias"][:, 0].tolist() == [0, 1, 2]


def test_a_tensor_that_appears_later_is_named_once(path):
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0))
    with pytest.warns(RuntimeWarning, match="adapter was not in the first snapshot") as caught:
        recorder.snapshot(1, {**weights(1), "adapter": np.zeros(2)})
    recorder.snapshot(2, {**weights(2), "adapter": np.zeros(2)})
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("step", "tensors", "metrics", "message"),
    [
        (5, weights(5), {}, "step 5 does not come after step 5"),
        (1.5, weights(5), {}, "step must be a whole number, not 1.5"),
        (True, weights(5), {}, "step must be a whole number, not True"),
        (2**62, weights(5), {}, "is beyond what can be counted"),
        (6, [np.zeros(2)], {}, "tensors must be a mapping of names to tensors, not list"),
        (6, weights(5), {"loss": "low"}, "metric loss must be one number, not str"),
        (6, weights(5), {"loss": np.zeros(2)}, "metric loss must be one number, not ndarray"),
        (6, {"other": np.zeros(2)}, {}, "holds none of the tensors recorded"),
        (6, {"a": {"b": np.zeros(2)}, "a/b": np.zeros(2)}, {}, "two tensors are called a/b"),
    ],
)
def test_a_wrong_call_raises_and_leaves_the_file_alone(path, step, tensors, metrics, message):
    recorder = Recorder(path)
    recorder.snapshot(5, weights(5), loss=1)
    warnings.simplefilter("ignore")
    with pytest.raises(KoopscopeError, match=message):
        recorder.snapshot(step, tensors, **metrics)
    assert read_back(path)[0].steps.tolist() == [5]


def test_a_first_snapshot_without_any_tensor_of_floats_is_a_wrong_call(path):
    with pytest.raises(KoopscopeError, match="none of the 1 values given is a tensor of floats"):
        Recorder(path).snapshot(0, {"count": np.arange(3)})
    assert list(path.parent.iterdir()) == []


def test_a_file_that_is_not_a_run_is_left_alone_and_costs_only_the_name(path):
    with h5py.File(path, "w") as file:
        file["precious"] = 1
    before = path.read_bytes()
    for mode, name in (("new", "run-2.h5"), ("resume", "run-3.h5"), ("overwrite", "run-4.h5")):
        with pytest.warns(RuntimeWarning, match=f"not a koopscope run file: .*{name}"):
            assert Recorder(path, mode=mode).snapshot(0, weights(0))
        assert read_back(path.with_name(name))[0].steps.tolist() == [0]
        assert path.read_bytes() == before
    with pytest.raises(KoopscopeError, match="is not a directory"):
        Recorder(path / "deeper.h5")


def test_a_run_file_that_another_program_wrote_is_left_alone(path):
    with h5py.File(path, "w", libver="earliest") as file:
        file.attrs["format"], file.attrs["format_version"] = "koopscope-run", "1.0"
        file["step"] = np.arange(2)
        file["weights/w"] = np.zeros((2, 3))
    before = path.read_bytes()
    with pytest.warns(RuntimeWarning, match="not a run file that Recorder wrote"):
        Recorder(path).snapshot(5, {"w": np.zeros(3)})
    assert path.read_bytes() == before


def test_a_program_that_writes_costs_one_snapshot_and_a_warning(path, monkeypatch):
    monkeypatch.setattr(recorder_module, "LOCK_PATIENCE", 0.05)
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.warns(RuntimeWarning, match="step 1 was not recorded"):
            assert recorder.snapshot(1, weights(1)) is False
        assert recorder.snapshot(2, weights(2)) is False  # the same cause is not named again
    assert recorder.snapshot(3, weights(3))
    assert read_back(path)[0].steps.tolist() == [0, 3]


def test_a_reader_that_holds_a_lock_costs_nothing(path):
    recorder = Recorder(path)
    recorder.snapshot(0, weights(0))
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        began = time.monotonic()
        assert recorder.snapshot(1, weights(1))
        assert time.monotonic() - began < 1.0
        fcntl.flock(reader, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_folder_that_vanishes_costs_snapshots_not_the_training(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    recorder = Recorder(folder / "run.h5")
    folder.rmdir()
    with pytest.warns(RuntimeWarning, match="step 0 was not recorded"):
        assert recorder.snapshot(0, weights(0)) is False


def test_a_dtype_that_changes_is_stored_in_the_first_one(path):
    recorder = Recorder(path)
    recorder.snapshot(0, {"w": np.array([1.5, 2.5], np.float32)})
    recorder.snapshot(1, {"w": np.array([3.5, 4.5], np.float16)})
    recorder.snapshot(2, {"w": np.array([0.1, 0.2], np.float64)})
    values = read_back(path)[1]["w"]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.float32([[1.5, 2.5], [3.5, 4.5], [0.1, 0.2]]))


def seconds_per_tensor(folder, count):
    tensors = {f"layer{k}.weight": np.ones((2, 2), np.float32) for k in range(count)}
    recorder = Recorder(folder / f"{count}.h5")
    took = []
    for step in range(2):
        began = time.process_time()
        recorder.snapshot(step, tensors)
        took.append((time.process_time() - began) / count)
    return np.array(took)


def test_the_time_per_tensor_does_not_grow_with_their_number(tmp_path):
    few = np.minimum(*(seconds_per_tensor(tmp_path, count) for count in (600, 601)))
    many = seconds_per_tensor(tmp_path, 4800)
    assert (many < 3 * few).all(), (few, many)


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12
).filter(lambda name: all(part not in ("", ".") for part in name.split("/")))
FLOATS = st.sampled_from([np.float16, np.float32, np.float64])


@st.composite
def trajectories(draw):
    """Three snapshots of tensors of any names, shapes and values, NaN and infinite ones too."""
    found: dict[str, np.ndarray] = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        if not any(f"{name}/".startswith(f"{a}/") or a.startswith(f"{name}/") for a in found):
            shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, max_side=5))
            found[name] = draw(arrays.arrays(draw(FLOATS), (3, *shape)))
    return found


@settings(max_examples=25, deadline=None)
@given(trajectories())
def test_any_names_shapes_and_floats_come_back_as_they_were(tmp_path_factory, trajectory):
    path = tmp_path_factory.mktemp("any") / "run.h5"
    recorder = Recorder(path)
    for step in range(3):
        recorder.snapshot(step, {name: values[step] for name, values in trajectory.items()})
    description, found = read_back(path)
    assert sorted(found) == sorted(trajectory)
    for tensor in description.tensors:
        values = trajectory[tensor.name]
        assert tensor.shape == values.shape[1:]
        assert tensor.dtype == values.dtype.name
        np.testing.assert_array_equal(found[tensor.name], values.reshape(3, -1))
