"""Trials of Ray Tune, and kinds that are known and not read."""

import json

import numpy as np
import pytest

from koopscope.runs.detect.opening import open_run
from tests.calling import called
from tests.runs.checkpoints.test_hugging_face import recorded, rows
from tests.series_files import trajectory, write_safetensors


def trial(folder, named=True, count=12):
    """Write what Ray's train.report leaves: a line an iteration, a folder a checkpoint."""
    run = trajectory(count, "float64")
    folder.mkdir()
    lines = []
    for t in range(count):
        home = folder / f"checkpoint_{t:06d}"
        home.mkdir()
        write_safetensors(home / "model.safetensors", {k: v[t] for k, v in run.items()})
        entry = {"training_iteration": 5 * (t + 1), "loss": 1 / (t + 1), "pid": 7, "done": False}
        entry |= {"config": {"lr": 0.1}} | ({"checkpoint_dir_name": home.name} if named else {})
        lines.append({"training_iteration": 5 * t + 2, "loss": 9.0, "checkpoint_dir_name": None})
        lines.append(entry)
    (folder / "result.json").write_text("\n".join(map(json.dumps, lines)) + '\n{"training_it')
    return folder


def test_a_trial_of_ray_has_the_steps_and_losses_of_its_results(tmp_path):
    folder = trial(tmp_path / "trial")
    steps = list(range(5, 65, 5))
    with open_run(folder) as run:
        assert run.description.steps.tolist() == steps
        np.testing.assert_array_equal(run.description.metrics["loss"], 1 / np.arange(1, 13))
        assert set(run.description.metrics) == {"loss"}
        mine = rows(run)
    beside = recorded(tmp_path / "beside.h5", trajectory(12, "float64"), steps)
    with open_run(beside) as run:
        theirs = rows(run)
    for name, values in theirs.items():
        np.testing.assert_array_equal(mine[name], values)


def test_a_trial_whose_results_name_no_checkpoint_says_what_its_numbers_are(tmp_path):
    with open_run(trial(tmp_path / "trial", named=False)) as run:
        assert run.description.steps.tolist() == list(range(12))
        assert any("its number is no training_iteration" in n for n in run.description.notes)


@pytest.mark.parametrize("content", [b"", b"[" * 10_000, b"\xff\xfe", b"null\n3\n[]\n"])
def test_damaged_results_of_ray_cost_only_the_metrics(tmp_path, content):
    folder = trial(tmp_path / "trial")
    (folder / "result.json").write_bytes(content)
    with open_run(folder) as run:
        assert run.description.steps.tolist() == list(range(12))
        assert not run.description.metrics


def test_inspect_gives_the_command_that_converts(tmp_path, capsys):
    folder = trial(tmp_path / "a trial")
    code, _, told = called(capsys, "inspect", folder)
    assert code == 0
    (command,) = (line for line in told.splitlines() if "koopscope convert" in line)
    assert command.endswith(f"koopscope convert '{folder}' -o run.h5")
    files = [write_safetensors(tmp_path / f"s_{k}.safetensors", {"w": np.ones(3)}) for k in (1, 2)]
    _, _, told = called(capsys, "inspect", *files)
    assert f"koopscope convert {files[0]} {files[1]} -o run.h5" in told
    many = [write_safetensors(tmp_path / f"s_{k}.safetensors", {"w": np.ones(3)}) for k in range(9)]
    _, _, told = called(capsys, "inspect", "--key", ".", *files)
    assert "koopscope convert" not in told  # it is refused
    _, _, told = called(capsys, "inspect", *many)
    assert f"koopscope convert {tmp_path}/*.safetensors -o run.h5" in told


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\1\2")


@pytest.mark.parametrize("named", ["folder", "file"])
@pytest.mark.parametrize(
    ("files", "said", "hint"),
    [
        (["ckpt-1.index", "ckpt-1.data-00000-of-00001"], "checkpoint of TensorFlow", "numpy.savez"),
        (["model.eqx"], "no readable file of Equinox", "tree_serialise_leaves"),
        (["model.gguf"], "GGUF", "checkpoints that it was made from"),
        (["model.onnx"], "ONNX", "checkpoints that it was made from"),
        (["model.weights.json"], "sharded Keras weights", "save_weights"),
    ],
)
def test_a_kind_that_is_not_read_says_what_it_is_and_what_to_do(
    tmp_path, capsys, files, said, hint, named
):
    for name in files:
        touch(tmp_path / name)
    source = tmp_path if named == "folder" else tmp_path / files[0]
    code, _, told = called(capsys, "inspect", source)
    assert code == 2
    assert said in told
    assert hint in told


def test_a_saved_model_of_tensorflow_says_what_to_do(tmp_path, capsys):
    touch(tmp_path / "saved_model.pb")
    touch(tmp_path / "variables" / "variables.index")
    code, _, told = called(capsys, "inspect", tmp_path)
    assert code == 2
    assert "SavedModel of TensorFlow" in told
    assert "variables/variables" in told
