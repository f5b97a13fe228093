"""Folders of trackers give the metrics of a run, matched by step."""

import json

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.metrics_log import metrics_from

STEPS = [0, 10, 20, 30]
NAN = np.nan


def mlflow(folder):
    """Write what MLflow's file store writes: a file a metric, a line a value."""
    (folder / "metrics" / "eval").mkdir(parents=True)
    (folder / "metrics" / "train_loss").write_text(
        "1700000000000 0.5 10\n1700000001000 0.4 20\n1700000002000 0.25 30\n"
    )
    (folder / "metrics" / "eval" / "loss").write_text(
        "1700000000000 0.75 20\n1700000000001 nan 30\n"
    )
    return folder


@pytest.mark.parametrize("named", ["", "metrics", ".."])
def test_a_run_of_mlflow(tmp_path, named):
    found = metrics_from(mlflow(tmp_path / "run") / named, STEPS, "step")
    np.testing.assert_array_equal(found.columns["loss"], [NAN, 0.5, 0.4, 0.25])
    np.testing.assert_array_equal(found.columns["val_loss"], [NAN, NAN, 0.75, NAN])
    assert set(found.columns) == {"loss", "val_loss"}


def test_one_metric_of_mlflow(tmp_path):
    path = mlflow(tmp_path / "run") / "metrics" / "train_loss"
    found = metrics_from(path, STEPS, "step")
    np.testing.assert_array_equal(found.columns["loss"], [NAN, 0.5, 0.4, 0.25])


def test_a_line_that_is_still_written_is_passed_over_and_damage_is_said(tmp_path):
    folder = mlflow(tmp_path / "run")
    path = folder / "metrics" / "train_loss"
    whole = path.read_text()
    path.write_text(whole + "17000000")
    found = metrics_from(folder, STEPS, "step")
    np.testing.assert_array_equal(found.columns["loss"], [NAN, 0.5, 0.4, 0.25])
    path.write_text("x" * 100_000 + "\n" + whole)
    with pytest.raises(KoopscopeError, match="line 1 of train_loss is no"):
        metrics_from(folder, STEPS, "step")


def test_the_history_of_wandb(tmp_path):
    folder = tmp_path / "run-20261126_101010-abc"
    (folder / "files").mkdir(parents=True)
    rows = [{"_step": s, "_runtime": 1.5 * s, "loss": 1 / (s + 1)} for s in STEPS]
    (folder / "files" / "wandb-history.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = metrics_from(folder, STEPS, "step")
    np.testing.assert_array_equal(found.columns["loss"], [1, 1 / 11, 1 / 21, 1 / 31])


def test_the_binary_log_of_wandb_says_how_to_export_it(tmp_path):
    (tmp_path / "run-abc.wandb").write_bytes(b":W&B\xbe\xe1\x00")
    for source in (tmp_path, tmp_path / "run-abc.wandb"):
        with pytest.raises(KoopscopeError, match=r"binary log of W&B") as raised:
            metrics_from(source, STEPS, "step")
        assert "history" in raised.value.hint


def test_the_folder_of_lightning_and_of_its_only_version(tmp_path):
    folder = tmp_path / "csv_logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,train_loss\n0,9,0.5\n0,19,0.4\n0,29,0.3\n")
    for source in (folder, folder.parent):
        found = metrics_from(source, STEPS, "step")
        np.testing.assert_array_equal(found.columns["loss"], [NAN, 0.5, 0.4, 0.3])
    (tmp_path / "csv_logs" / "version_1").mkdir()
    (tmp_path / "csv_logs" / "version_1" / "metrics.csv").write_text("step,a\n1,2\n")
    with pytest.raises(KoopscopeError, match="2 logs of metrics"):
        metrics_from(tmp_path / "csv_logs", STEPS, "step")


def test_a_folder_without_a_log_is_one_sentence(tmp_path):
    with pytest.raises(KoopscopeError, match="holds no log of metrics"):
        metrics_from(tmp_path, STEPS, "step")
