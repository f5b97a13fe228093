"""``convert --follow`` keeps what a training deletes, and ends with a whole file."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from koopscope.runs.detect.opening import open_run
from tests.calling import called
from tests.frameworks import assert_same_numbers
from tests.series_files import trajectory, write_safetensors, write_series

COMMAND = [sys.executable, "-m", "koopscope", "convert"]


def eventually(check, seconds=60):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.1)


def steps_of(path):
    if not path.exists():
        return []
    with open_run(path) as run:
        return run.description.steps.tolist()


def test_rotated_checkpoints_are_kept_and_ctrl_c_ends_it_cleanly(tmp_path):
    folder, output = tmp_path / "saved", tmp_path / "run.h5"
    run = trajectory(12)
    process = subprocess.Popen(
        [*COMMAND, folder, "--follow", "-o", output], stderr=subprocess.PIPE, text=True
    )
    try:
        folder.mkdir()
        for t in range(4):
            path = folder / f"step_{t + 1}.safetensors"
            whole = write_safetensors(tmp_path / "whole", {k: v[t] for k, v in run.items()})
            content = whole.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            time.sleep(2.5 if t == 1 else 0)  # long enough to be looked at twice
            assert steps_of(output) == list(range(1, t + 1))
            path.write_bytes(content)
            eventually(lambda done=t + 1: steps_of(output) == list(range(1, done + 1)))
            path.unlink()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, told
    assert "Wrote 4 snapshots" in told
    assert "Traceback" not in told
    with open_run(output) as kept:
        for tensor in kept.description.tensors:
            out = np.empty((4, tensor.size), np.float32)
            kept.read(tensor, 0, tensor.size, out)
            np.testing.assert_array_equal(out, run[tensor.name][:4].reshape(4, -1))


def test_the_same_command_goes_on_and_gives_what_convert_gives(tmp_path, capsys):
    output, whole = tmp_path / "run.h5", tmp_path / "whole.h5"
    paths = write_series(tmp_path / "saved", ".npz")
    later = [path.rename(tmp_path / path.name) for path in paths[6:]]
    words = ("convert", tmp_path / "saved", "--follow", "--idle", "3", "-o", output)
    assert called(capsys, *words)[0] == 0
    assert steps_of(output) == [1, 2, 3, 4, 5, 6]
    for path in later:
        os.replace(path, tmp_path / "saved" / path.name)
    code, _, told = called(capsys, *words)
    assert code == 0
    assert "Wrote 6 snapshots" in told
    assert called(capsys, "convert", tmp_path / "saved", "-o", whole)[0] == 0
    assert_same_numbers(whole, output, 0)
    assert all(path.exists() for path in (tmp_path / "saved").iterdir())


def test_another_run_file_is_not_continued(tmp_path, capsys):
    write_series(tmp_path / "saved", ".npz")
    output = tmp_path / "run.h5"
    called(capsys, "convert", tmp_path / "saved", "-o", output)
    before = output.read_bytes()
    code, _, told = called(capsys, "convert", tmp_path / "saved", "--follow", "-o", output)
    assert code == 2
    assert "exists" in told
    assert output.read_bytes() == before


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_checkpoints_is_said_when_time_is_up(tmp_path, capsys, made):
    folder = tmp_path / "saved"
    if made:
        folder.mkdir()
    output = tmp_path / "run.h5"
    code, _, told = called(capsys, "convert", folder, "--follow", "--idle", "0", "-o", output)
    assert code == 2
    assert "no checkpoint was completed" in told
    assert not output.exists()


def test_another_network_is_one_sentence_and_the_file_stays_whole(tmp_path, capsys):
    write_series(tmp_path / "saved", ".npz", 3)
    output = tmp_path / "run.h5"
    words = ("convert", tmp_path / "saved", "--follow", "--idle", "3", "-o", output)
    assert called(capsys, *words)[0] == 0
    for path in (tmp_path / "saved").iterdir():
        path.unlink()
    np.savez(tmp_path / "saved" / "epoch_4.npz", w=np.zeros(3))
    code, _, told = called(capsys, *words)
    assert code == 2
    assert "another network" in told
    assert steps_of(output) == [1, 2, 3]


def test_force_replaces_a_file_with_what_is_followed(tmp_path, capsys):
    write_series(tmp_path / "saved", ".npz", 3)
    output = tmp_path / "run.h5"
    output.write_bytes(b"something else")
    words = ("convert", tmp_path / "saved", "--follow", "--idle", "3", "--force", "-o", output)
    code, _, told = called(capsys, *words)
    assert code == 0, told
    assert steps_of(output) == [1, 2, 3]
