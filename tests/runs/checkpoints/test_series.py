"""A series of checkpoint files is the trajectory that was saved, or one clear error."""

import os
import shutil

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints import series as series_module
from koopscope.runs.detect.opening import group_sources, open_run
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.run import Skipped
from tests.series_files import trajectory, write_safetensors, write_series


def read_back(run, block_bytes=96):
    gathered = {}
    for block in run.blocks(block_bytes=block_bytes):
        gathered.setdefault(block.tensor.name, []).append(block.values.copy())
    return {name: np.concatenate(parts, axis=1) for name, parts in gathered.items()}


def assert_is_trajectory(run, expected):
    assert {t.name: t.shape for t in run.description.tensors} == {
        name: values.shape[1:] for name, values in expected.items()
    }
    for name, values in read_back(run).items():
        np.testing.assert_array_equal(values, expected[name].reshape(len(values), -1))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5"])
def test_a_folder_of_checkpoints_is_one_run_in_the_order_of_its_numbers(tmp_path, suffix):
    write_series(tmp_path / "saved", suffix)
    with open_run(tmp_path / "saved") as run:
        assert run.description.steps.tolist() == list(range(1, 13))
        assert "epochs come from the names" in run.description.notes
        assert_is_trajectory(run, trajectory())


def test_files_may_be_given_in_any_order(tmp_path):
    paths = write_series(tmp_path, ".npz")
    with open_run(paths[::-1]) as run:
        assert_is_trajectory(run, trajectory())


def test_more_checkpoints_than_may_be_open_are_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(series_module, "OPEN_FILES", 3)
    write_series(tmp_path, ".safetensors")
    with open_run(tmp_path) as run:
        assert_is_trajectory(run, trajectory())


def test_bfloat16_words_are_read_as_the_numbers_they_stand_for(tmp_path):
    exact = np.array([1.0, -2.5, 0.15625], np.float32)
    for step in (1, 2):
        words = ((exact * step).view(np.uint32) >> 16).astype(np.uint16)
        write_safetensors(tmp_path / f"step_{step}.safetensors", {"w": words})
    with open_run(tmp_path) as run:
        assert run.description.tensors[0].dtype == "bfloat16"
        np.testing.assert_array_equal(read_back(run)["w"], [exact, 2 * exact])


def test_wrappers_put_in_front_of_names_are_removed(tmp_path):
    for step in (1, 2):
        tensors = {"module._orig_mod.fc.weight": np.full((2, 2), step, np.float32)}
        write_safetensors(tmp_path / f"step_{step}.safetensors", tensors)
    with open_run(tmp_path) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["fc.weight"]


def one_differs(tmp_path, changed):
    good = {name: values[0] for name, values in trajectory(1).items()}
    write_safetensors(tmp_path / "step_1.safetensors", good)
    write_safetensors(tmp_path / "step_2.safetensors", changed(dict(good)))
    with pytest.raises(KoopscopeError) as caught:
        open_run(tmp_path)
    assert "step_2.safetensors" in caught.value.message
    assert "step_1.safetensors" in caught.value.message
    assert "first.bias" in caught.value.message
    return caught.value.message


def test_another_shape_is_an_error_that_names_file_and_tensor(tmp_path):
    message = one_differs(tmp_path, lambda t: t | {"first.bias": np.zeros(7, np.float32)})
    assert "[7]" in message
    assert "[6]" in message


def test_another_dtype_is_an_error_that_names_file_and_tensor(tmp_path):
    message = one_differs(tmp_path, lambda t: t | {"first.bias": t["first.bias"].astype("f2")})
    assert "float16" in message
    assert "float32" in message


def test_a_missing_tensor_is_an_error_that_names_file_and_tensor(tmp_path):
    def without(tensors):
        del tensors["first.bias"]
        return tensors

    assert "lacks first.bias" in one_differs(tmp_path, without)


def test_two_checkpoints_of_one_step_are_an_error_that_names_both(tmp_path):
    run = trajectory(2)
    for t, name in enumerate(("best", "last")):
        tensors = {tensor: values[t] for tensor, values in run.items()}
        write_safetensors(tmp_path / f"{name}.safetensors", tensors, {"step": "500"})
    with pytest.raises(KoopscopeError, match=r"best\.safetensors and .*last\.safetensors both"):
        open_run(tmp_path)


@pytest.mark.parametrize("how", ["copy", "symlink", "hardlink", "same_step"])
def test_last_that_holds_the_weights_of_another_is_left_out(tmp_path, how):
    paths = write_series(tmp_path, ".safetensors")
    last = tmp_path / "last.safetensors"
    if how == "symlink":
        last.symlink_to(paths[-1].name)
    elif how == "hardlink":
        os.link(paths[-1], last)
    elif how == "copy":
        shutil.copy(paths[-1], last)
    else:
        last = tmp_path / "last-epoch=12.safetensors"
        shutil.copy(paths[-1], last)
    with open_run(tmp_path) as run:
        assert run.description.snapshots == 12
        assert f"{last} is left out: it holds the same weights as {paths[-1]}" in str(
            run.description.notes
        )
        assert_is_trajectory(run, trajectory())


def test_best_of_no_known_step_is_left_out_and_said(tmp_path):
    write_series(tmp_path, ".safetensors")
    tensors = {name: values[0] + 1 for name, values in trajectory(1).items()}
    write_safetensors(tmp_path / "best.safetensors", tensors)
    with open_run(tmp_path) as run:
        assert run.description.snapshots == 12
        assert "neither its name nor the file tells its step" in run.description.notes[-1]


def test_a_restart_that_begins_at_0_again_is_one_sentence(tmp_path):
    run = trajectory(6)
    for attempt in (0, 1):
        for t in range(3):
            path = tmp_path / f"attempt{'ab'[attempt]}-step_{t}.safetensors"
            tensors = {name: values[3 * attempt + t] for name, values in run.items()}
            write_safetensors(path, tensors)
    with pytest.raises(KoopscopeError, match="3 steps are there twice with different") as caught:
        open_run(tmp_path)
    assert "began anew" in caught.value.hint


def test_stages_are_not_joined(tmp_path):
    for stage in (1, 2):
        for t in range(3):
            folder = tmp_path / f"stage{stage}-step{1000 * t}-tokens{2 * t}B"
            folder.mkdir()
            tensors = {name: values[t] for name, values in trajectory(3).items()}
            write_safetensors(folder / "model.safetensors", tensors)
    with pytest.raises(KoopscopeError, match=r"stage1 \(3\), stage2 \(3\)"):
        open_run(tmp_path)
    with open_run(sorted(tmp_path.glob("stage2-*"))) as run:
        assert run.description.steps.tolist() == [0, 1000, 2000]


def test_numbers_beside_the_weights_of_an_npz_are_metrics(tmp_path):
    for t in range(3):
        np.savez(
            tmp_path / f"ckpt_{t}.npz",
            w=np.full((2, 3), t, np.float32),
            scale=np.float32(t),
            loss=1.0 / (1 + t),
            lr=np.array([[0.1]]),
            time=np.float32(t),
            step=np.array([[100 * t]]),
            exp_avg=np.ones((2, 3)),
        )
    with open_run(tmp_path) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["w", "scale"]
        assert run.description.steps.tolist() == [0, 100, 200]
        assert set(run.description.metrics) == {"loss", "lr", "time"}
        np.testing.assert_array_equal(run.description.metrics["loss"], [1, 1 / 2, 1 / 3])
        assert [skip.name for skip in run.description.skipped] == ["exp_avg"]


def test_numbers_beside_the_weights_of_safetensors_are_metrics(tmp_path):
    for t in range(3):
        tensors = {
            "w": np.full(3, t, np.float32),
            "loss": np.array(0.5, np.float32),
            "epoch": np.array(2 * t, np.int64),
        }
        write_safetensors(tmp_path / f"ckpt_{t}.safetensors", tensors)
    with open_run(tmp_path) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["w"]
        assert run.description.steps.tolist() == [0, 2, 4]
        np.testing.assert_array_equal(run.description.metrics["loss"], [0.5] * 3)


def test_a_network_that_is_none_by_its_names_is_an_error(tmp_path):
    np.savez(tmp_path / "step_1.npz", mask=np.ones((8, 8)), bias=np.ones(8))
    with pytest.raises(KoopscopeError, match="holds 8 weights beside 64 values") as caught:
        open_run([tmp_path / "step_1.npz"])
    assert "other names" in caught.value.hint


def test_control_characters_in_names_are_read(tmp_path):
    for t in (1, 2):
        tensors = {"a\x1b]0;owned\x07.weight": np.full(3, t, np.float32)}
        write_safetensors(tmp_path / f"step_{t}.safetensors", tensors)
    with open_run(tmp_path) as run:
        assert read_back(run)["a\x1b]0;owned\x07.weight"].tolist() == [[1] * 3, [2] * 3]


@pytest.mark.parametrize("suffix", [".h5", ".safetensors", ".npz", ".pt", ".keras"])
def test_a_pipe_is_refused_without_opening_it(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(KoopscopeError, match="is not a regular file"):
        open_run(tmp_path / f"a{suffix}")


def test_the_files_own_steps_come_before_their_names(tmp_path):
    tensors = {name: values[0] for name, values in trajectory(1).items()}
    for number in (1, 2):
        path = tmp_path / f"epoch_{number}.safetensors"
        write_safetensors(path, tensors, {"step": str(100 * number)})
    with open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [100, 200]


def test_a_folder_of_several_kinds_says_how_to_choose(tmp_path):
    write_series(tmp_path, ".npz", 2)
    write_series(tmp_path, ".h5", 2)
    with pytest.raises(KoopscopeError, match="several kinds") as caught:
        open_run(tmp_path)
    assert "*.h5" in caught.value.hint


def test_a_folder_without_checkpoints_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(KoopscopeError, match="holds no checkpoint"):
        open_run(tmp_path)


def test_a_folder_per_step_is_a_series(tmp_path):
    for t in range(3):
        (tmp_path / f"epoch_{t}").mkdir()
        tensors = {name: values[t] for name, values in trajectory(3).items()}
        write_safetensors(tmp_path / f"epoch_{t}" / "weights.safetensors", tensors)
    with open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [0, 1, 2]
        assert_is_trajectory(run, trajectory(3))


def test_npz_values_stored_by_columns_or_compressed_are_read_right(tmp_path):
    values = np.arange(12.0).reshape(3, 4)
    np.savez_compressed(tmp_path / "step_1.npz", w=values)
    np.savez(tmp_path / "step_2.npz", w=np.asfortranarray(values), step=np.int64(2))
    with open_run([tmp_path / "step_1.npz"]) as run:
        np.testing.assert_array_equal(read_back(run, 16)["w"], [values.ravel()])
    with open_run([tmp_path / "step_2.npz"]) as run:
        assert run.description.steps.tolist() == [2]
        np.testing.assert_array_equal(read_back(run, 16)["w"], [values.ravel()])


def test_npz_objects_are_never_unpickled(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.savez(tmp_path / "step_1.npz", w=np.zeros(3), x=np.array([Hostile()], dtype=object))
    with pytest.raises(KoopscopeError, match="it holds Python objects, which are not unpickled"):
        open_run([tmp_path / "step_1.npz"])
    assert not (tmp_path / "ran").exists()


def test_an_hdf5_series_follows_no_link(tmp_path):
    with h5py.File(tmp_path / "secret.hdf5", "w") as file:
        file["w"] = np.ones(3)
    with h5py.File(tmp_path / "step_1.h5", "w") as file:
        file["w"] = h5py.ExternalLink("secret.hdf5", "/w")
    with pytest.raises(KoopscopeError, match=r"w of .*step_1.h5 is refused: an external link"):
        open_run([tmp_path / "step_1.h5", tmp_path / "step_1.h5"])


def test_checkpoints_given_together_are_one_run_and_run_files_stay_apart(tmp_path):
    series = write_series(tmp_path / "saved", ".npz", 3)
    for name in ("a.h5", "b.h5"):
        Recorder(tmp_path / name).snapshot(1, {"w": np.ones(3)})
    given = [tmp_path / "a.h5", *series, tmp_path / "b.h5"]
    found = [[look.path for look in group] for group in group_sources(given)]
    assert found == [[tmp_path / "a.h5"], series, [tmp_path / "b.h5"]]


def test_a_folder_of_run_files_is_no_series(tmp_path):
    for name in ("a.h5", "b.h5"):
        Recorder(tmp_path / name).snapshot(1, {"w": np.ones(3)})
    with pytest.raises(KoopscopeError, match=r"a\.h5 is a run by itself"):
        open_run(tmp_path)


@pytest.mark.parametrize("at", [200, 5_000, 60_000])
def test_a_compressed_array_with_damaged_bytes_is_named(tmp_path, at):
    path = tmp_path / "step_1.npz"
    np.savez_compressed(path, w=np.random.default_rng(0).normal(size=20_000))
    content = bytearray(path.read_bytes())
    content[at : at + 50] = b"\xff" * 50
    path.write_bytes(content)
    with (
        pytest.raises(KoopscopeError, match=r"w of .*step_1\.npz cannot be read"),
        open_run([path]) as run,
    ):
        list(run.blocks())


def test_an_array_header_that_is_no_python_literal_is_named(tmp_path):
    path = tmp_path / "step_1.npz"
    np.savez(path, w=np.zeros(3, np.float32))
    path.write_bytes(path.read_bytes().replace(b"(3,), }", b"(3(, } "))
    with pytest.raises(KoopscopeError, match=r"w of .*step_1\.npz cannot be read"):
        open_run([path])


def test_a_numbered_folder_without_weights_is_named_among_what_was_skipped(tmp_path):
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
        values = {name: array[step] for name, array in trajectory(4).items()}
        write_safetensors(tmp_path / f"checkpoint-{step}" / "model.safetensors", values)
    (tmp_path / "checkpoint-10").mkdir()
    with h5py.File(tmp_path / "checkpoint-10" / "weights.h5", "w") as file:
        file["w"] = np.ones(3)
    with open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [1, 2, 3]
        (skipped,) = run.description.skipped
    assert skipped == Skipped("checkpoint-10", "a folder without weights that are read")
