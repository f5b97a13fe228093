"""A converted run holds what the checkpoints held, however often its making was interrupted."""

import csv
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.metrics_log import metrics_from_csv
from koopscope.runs.detect.converting import convert
from koopscope.runs.detect.opening import open_foreign, open_run
from tests.series_files import trajectory, write_safetensors, write_series


def converted(source, output, **options):
    with open_foreign([source]) as run:
        return convert(run, output, tensors=run.description.tensors, metrics={}, **options)


def contents(path):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        metadata = file.attrs["metadata"]
    return found, metadata


def same_contents(left, right):
    (found, metadata), (other, other_metadata) = contents(left), contents(right)
    assert metadata == other_metadata
    assert list(found) == list(other)
    for name, values in found.items():
        np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".h5"])
def test_the_run_file_holds_what_the_checkpoints_held(tmp_path, suffix):
    write_series(tmp_path / "saved", suffix)
    converted(tmp_path / "saved", tmp_path / "run.h5")
    expected = trajectory()
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == list(range(1, 13))
        assert not run.description.notes
        for block in run.blocks():
            np.testing.assert_array_equal(block.values, expected[block.tensor.name].reshape(12, -1))
    assert not (tmp_path / "run.h5.partial").exists()


def test_bfloat16_arrives_bit_by_bit(tmp_path):
    words = np.array([0x3F80, 0xC020, 0x0001, 0x7F80, 0x8000], np.uint16)
    write_safetensors(tmp_path / "step_1.safetensors", {"w": words})
    converted(tmp_path, tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["weights/w"].attrs["dtype"] == "bfloat16"
        np.testing.assert_array_equal(file["weights/w"][0], words)


@pytest.mark.parametrize("layout", ["groups", "stacked"])
def test_other_hdf5_layouts_are_converted_too(tmp_path, layout):
    expected = trajectory()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in expected.items():
            if layout == "stacked":
                file[name] = values
            for t in range(12 * (layout == "groups")):
                file[f"step_{t}/{name}"] = values[t]
        if layout == "stacked":
            file["step"] = np.arange(12)
    converted(tmp_path / "a.h5", tmp_path / "run.h5")
    with open_run(tmp_path / "run.h5") as run:
        for block in run.blocks():
            np.testing.assert_array_equal(block.values, expected[block.tensor.name].reshape(12, -1))


class CopyInterruptedError(Exception):
    pass


@pytest.mark.parametrize("parts", [1, 7, 18])
def test_a_copy_that_was_interrupted_is_continued_and_comes_out_the_same(tmp_path, parts):
    write_series(tmp_path / "saved", ".safetensors")
    calls = []

    def interrupt(count):
        calls.append(count)
        if len(calls) == parts:
            raise CopyInterruptedError

    with pytest.raises(CopyInterruptedError):
        converted(tmp_path / "saved", tmp_path / "run.h5", on_progress=interrupt)
    assert not (tmp_path / "run.h5").exists()
    assert converted(tmp_path / "saved", tmp_path / "run.h5") == (parts - 1) // 3
    converted(tmp_path / "saved", tmp_path / "whole.h5")
    same_contents(tmp_path / "run.h5", tmp_path / "whole.h5")


def test_a_partial_copy_of_other_sources_is_started_again(tmp_path):
    write_series(tmp_path / "saved", ".safetensors")

    def interrupt(count):
        raise CopyInterruptedError

    with pytest.raises(CopyInterruptedError):
        converted(tmp_path / "saved", tmp_path / "run.h5", on_progress=interrupt)
    for t in range(1, 13):
        tensors = {"w": np.full(3, t, np.float32)}
        write_safetensors(tmp_path / "saved" / f"epoch_{t}.safetensors", tensors)
    assert converted(tmp_path / "saved", tmp_path / "run.h5") == 0
    with h5py.File(tmp_path / "run.h5") as file:
        assert list(file["weights"]) == ["w"]


def test_a_killed_conversion_is_finished_by_the_same_command(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "saved").mkdir()
    for t in range(20):
        tensors = {f"l{i}": rng.normal(size=100_000).astype("f4") for i in range(8)}
        write_safetensors(tmp_path / "saved" / f"epoch_{t}.safetensors", tensors)
    command = [sys.executable, "-m", "koopscope", "convert", "saved", "-o"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    killed = subprocess.Popen([*command, "run.h5"], cwd=tmp_path, env=environment)
    partial = tmp_path / "run.h5.partial"
    while killed.poll() is None:
        if partial.exists() and partial.stat().st_size > 8 * 3_200_000:
            killed.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "run.h5").exists()
    again = subprocess.run(
        [*command, "run.h5"], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert b"had been copied before" in again.stderr
    subprocess.run([*command, "whole.h5"], cwd=tmp_path, env=environment, check=True)
    same_contents(tmp_path / "run.h5", tmp_path / "whole.h5")


def written_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_lightning_logs_are_matched_by_step(tmp_path):
    path = written_csv(
        tmp_path / "metrics.csv",
        ["epoch", "step", "train_loss", "val_loss"],
        [[0, 49, 0.9, ""], [0, 99, 0.8, ""], [0, 99, "", 0.85], [1, 199, 0.5, ""], [2, 250, 0, 0]],
    )
    table = metrics_from_csv(path, [100, 200], "step")
    np.testing.assert_array_equal(table["loss"], [0.8, 0.5])
    np.testing.assert_array_equal(table["val_loss"], [0.85, np.nan])


def test_keras_logs_count_epochs_from_zero_and_checkpoints_from_one(tmp_path):
    rows = [[epoch, 1.0 / (epoch + 1)] for epoch in range(6)]
    path = written_csv(tmp_path / "log.csv", ["epoch", "loss"], rows)
    np.testing.assert_array_equal(metrics_from_csv(path, [2, 4], "epoch")["loss"], [1 / 2, 1 / 4])


def test_a_log_with_a_row_per_snapshot_needs_no_step(tmp_path):
    path = written_csv(tmp_path / "log.csv", ["loss"], [[3], [2], [1]])
    np.testing.assert_array_equal(metrics_from_csv(path, [7, 8, 20], "step")["loss"], [3, 2, 1])


@pytest.mark.parametrize("rows", [[], [[1], [2]]])
def test_a_log_that_cannot_be_matched_is_an_error(tmp_path, rows):
    path = written_csv(tmp_path / "log.csv", ["loss"], rows)
    with pytest.raises(KoopscopeError, match=r"log\.csv"):
        metrics_from_csv(path, [7, 8, 20], "step")


def test_a_run_file_is_not_converted_to_another(tmp_path):
    write_series(tmp_path / "saved", ".npz")
    converted(tmp_path / "saved", tmp_path / "run.h5")
    with pytest.raises(KoopscopeError, match=r"run\.h5 is a run file already"):
        converted(tmp_path / "run.h5", tmp_path / "again.h5")


def test_an_empty_name_is_not_taken_for_the_folder_one_is_in():
    with pytest.raises(KoopscopeError, match="name of a run is empty"):
        open_run("")
