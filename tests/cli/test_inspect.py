"""``koopscope inspect`` shows all of what a file holds, and says why the rest is not shown."""

import json
import re
import warnings
from pathlib import Path

import h5py
import jsonschema
import numpy as np
import pytest

from koopscope.report.envelope import schema
from koopscope.report.inspection import Inspection, render
from koopscope.report.text.terminal_style import Page
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from tests.calling import called

SAMPLE = Path(__file__).parents[2] / "sample_runs/mlp_sgd.h5"
LONG_NAME = "encoder.blocks.11.attention.projection.with.a.very.long.name.indeed.weight"
WEIGHTS = {
    LONG_NAME: np.zeros((2, 3), np.float32),
    "norm.running_mean": np.ones(2, np.float16),
    "norm.num_batches_tracked": np.array(3),
}


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "run.h5"
    recorder = Recorder(path, metadata={"lr": 0.1, "note": "two\nlines"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the counts of batch normalization are nobody's loss
        recorder.snapshot(0, WEIGHTS, loss=1.0)
    recorder.snapshot(10, WEIGHTS, loss=0.5, val_loss=0.5)
    recorder.snapshot(20, WEIGHTS, loss=0.25)
    recorder.snapshot(25, WEIGHTS, loss=0.2)
    return path


def inspect(capsys, *words):
    return called(capsys, "inspect", *words)


def test_the_table_shows_everything_in_the_file(run_file, capsys):
    code, out, err = inspect(capsys, run_file)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert [LONG_NAME, "2", "x", "3", "6", "float32", "parameter"] in lines
    assert ["norm.running_mean", "2", "2", "float16", "buffer"] in lines
    assert ["val_loss", "1", "0.5", "0.5", "0.5", "10", "0.5", "10"] in lines
    assert "4 snapshots, steps 0 to 25, unevenly spaced (5 to 10 steps apart)" in out
    assert "longest even stretch: 3 snapshots, steps 0 to 20, every 10 steps" in out
    assert "norm.num_batches_tracked: int64 values" in out
    assert "note: two lines" in out


def test_in_eighty_columns_no_line_is_longer_and_a_name_keeps_its_number_and_its_end(run_file):
    with open_run(run_file) as run:
        lines = render(Inspection((run.description,)), Page(width=80)).splitlines()
    assert max(len(line) for line in lines if str(run_file) not in line) <= 80
    assert any(re.match(r"e\w*\.b\w*\.11\..*\.weight  2 x 3", line) for line in lines)


def test_json_follows_its_schema_and_agrees_with_the_file(run_file, capsys):
    code, out, _ = inspect(capsys, run_file, "--format", "json")
    found = json.loads(out)
    jsonschema.validate(found, schema("inspection"))
    assert code == 0
    assert found["run"]["parameters"] == 8
    assert found["run"]["bytes"] == 4 * (6 * 4 + 2 * 2)
    assert found["run"]["even_stretch"] == {"snapshots": 3, "first_step": 0, "last_step": 20}
    assert found["metrics"][1]["values"] == 1
    assert found["metadata"] == {"lr": 0.1, "note": "two\nlines"}


def test_one_unreadable_file_among_several_is_named_and_the_rest_is_shown(run_file, capsys):
    missing = run_file.with_name("missing.h5")
    code, out, err = inspect(capsys, missing, run_file, "--format", "json")
    assert code == 2
    assert err.startswith(f"error: {missing} does not exist\nhint: ")
    assert [run["run"]["path"] for run in json.loads(out)["runs"]] == [str(run_file)]


def test_a_run_without_snapshots_is_shown_as_such(tmp_path, capsys):
    path = tmp_path / "run.h5"
    Recorder(path).snapshot(0, {"w": np.zeros(3, np.float32)}, loss=1.0)
    with h5py.File(path, "r+") as file:
        file["step"].resize(0, axis=0)
    code, out, _ = inspect(capsys, path)
    assert code == 0
    assert "no snapshot" in out


def test_metadata_cannot_steer_the_terminal(tmp_path, capsys):
    path = tmp_path / "run.h5"
    Recorder(path, metadata={"note": "\x1b[2Jgone"}).snapshot(0, {"w": np.zeros(3)})
    _, out, _ = inspect(capsys, path)
    assert "\x1b" not in out
    assert "gone" in out


def test_metrics_fit_80_columns_by_losing_digits(tmp_path):
    values = {"val_accuracy": 0.09682812345, "lr": 3.33333e-05, "val_loss": 2.380212345}
    recorder = Recorder(tmp_path / "run.h5")
    for step in (0, 100_000, 200_000):
        recorder.snapshot(
            step, {"w": np.zeros(3)}, **{k: v * (step + 1) for k, v in values.items()}
        )
    with open_run(tmp_path / "run.h5") as run:
        narrow = render(Inspection((run.description,)), Page(width=80))
        wide = render(Inspection((run.description,)), Page())
    assert max(map(len, narrow.splitlines())) <= 80
    assert "0.096828" in wide


def test_a_flag_behind_the_verb_counts_and_one_that_is_a_value_does_not(capsys):
    code, _, err = called(capsys, "analyze", SAMPLE, "--until", "900", "-q")
    assert (code, err) == (0, "")
    code, out, err = called(capsys, "analyze", SAMPLE, "--include", "-q")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: no tensor of {SAMPLE} is left by --include -q\n")
