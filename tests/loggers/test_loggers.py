"""Findings arrive in real trackers, offline: what was logged is read back from what they wrote."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import koopscope
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.loggers import (
    log_to_mlflow,
    log_to_tensorboard,
    log_to_trackio,
    log_to_wandb,
)
from koopscope.loggers.entries import HEADS, entries_of
from koopscope.report.pictures import PICTURES
from tests.frameworks import framework

RUN = Path(__file__).parents[2] / "sample_runs" / "overfitting.h5"
LAST_STEP = 1600


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return koopscope.analyze(RUN)


def test_numbers_are_those_of_the_findings(diagnosis: Diagnosis) -> None:
    entries = entries_of(diagnosis, None, with_pictures=False)
    assert entries.step == LAST_STEP
    finding = diagnosis.finding("overfitting")
    assert entries.numbers["koopscope/overfitting"] == finding.value
    assert entries.numbers["koopscope/status/overfitting"] == 2.0
    leading = abs(diagnosis.spectrum().eigenvalues[0])
    assert entries.numbers["koopscope/eigenvalue_1"] == pytest.approx(leading)
    assert all(np.isfinite(value) for value in entries.numbers.values())
    assert entries.advice == diagnosis.next.line
    assert [row[0] for row in entries.rows] == [each.code for each in diagnosis.findings]


def test_reports_are_those_of_the_command(diagnosis: Diagnosis) -> None:
    reports = entries_of(diagnosis, None, with_pictures=False).reports
    document = json.loads(reports["report.json"])
    assert len(document["findings"]) == len(diagnosis.findings)
    assert reports["report.html"].startswith("<!DOCTYPE html>")


def test_a_run_is_analysed_where_only_its_path_is_given() -> None:
    entries = entries_of(RUN, 7, with_pictures=False)
    assert entries.step == 7
    assert "koopscope/overfitting" in entries.numbers


def test_a_run_of_weights_that_are_not_finite_is_logged_without_eigenvalues(tmp_path: Path) -> None:
    path = tmp_path / "nan.h5"
    with koopscope.Recorder(path) as recorder:
        for step in range(20):
            weights = np.full(4, float(step) if step < 2 else np.nan, np.float32)
            recorder.snapshot(step, {"w": weights}, loss=float(step))
    entries = entries_of(path, None, with_pictures=True)
    assert not any("eigenvalue" in name for name in entries.numbers)
    assert entries.numbers["koopscope/status/finiteness"] == 2.0


def test_hostile_names_are_inert_in_markdown(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    rng = np.random.default_rng(0)
    name = "<script>alert(1)<script>|[x](y)*"
    with koopscope.Recorder(path) as recorder:
        for step in range(20):
            weights = np.full(8, np.nan) if step > 15 else rng.normal(size=8)
            recorder.snapshot(step, {name: weights.astype(np.float32)})
    text = entries_of(path, None, with_pictures=False).markdown
    assert "alert" in text
    assert not any(sign in text for sign in ("<", "\x1b", "[x]"))
    for line in text.splitlines()[2:]:
        assert line.count("|") == len(HEADS) + 1


def test_tensorboard_gets_numbers_findings_and_pictures(
    diagnosis: Diagnosis, tmp_path: Path
) -> None:
    framework("torch")
    framework("tensorboard")
    log_to_tensorboard(diagnosis, tmp_path)
    kept = _events(tmp_path)
    expected = entries_of(diagnosis, None, with_pictures=False)
    assert set(kept.Tags()["scalars"]) == set(expected.numbers)
    (event,) = kept.Scalars("koopscope/overfitting")
    assert event.step == LAST_STEP
    assert event.value == pytest.approx(expected.numbers["koopscope/overfitting"], rel=1e-6)
    assert set(kept.Tags()["images"]) == {f"koopscope/pictures/{name}" for name in PICTURES}
    (image,) = kept.Images("koopscope/pictures/eigenvalues")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    (text,) = kept.Tensors("koopscope/findings/text_summary")
    assert diagnosis.finding("overfitting").message[:20] in text.tensor_proto.string_val[0].decode()


def _events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_a_writer_of_ones_own_stays_open(diagnosis: Diagnosis, tmp_path: Path) -> None:
    framework("torch")
    framework("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        log_to_tensorboard(diagnosis, writer, step=5, pictures=False)
        writer.add_scalar("loss", 0.5, 6)
    kept = _events(tmp_path)
    assert [event.step for event in kept.Scalars("koopscope/overfitting")] == [5]
    assert [event.step for event in kept.Scalars("loss")] == [6]
    assert kept.Tags()["images"] == []


def test_something_else_than_a_writer_is_refused(diagnosis: Diagnosis) -> None:
    with pytest.raises(KoopscopeError, match="dict is no writer"):
        log_to_tensorboard(diagnosis, {})


class FullDisk:
    """A writer of TensorBoard's that fails as on a full disk."""

    def add_scalar(self, *entry: Any) -> None:
        raise OSError(28, "No space left on device")

    add_text = add_image = add_scalar


def test_a_tracker_that_fails_is_a_warning(diagnosis: Diagnosis) -> None:
    with pytest.warns(RuntimeWarning, match="TensorBoard did not take all .*No space left"):
        log_to_tensorboard(diagnosis, FullDisk(), pictures=False)


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = framework("wandb")
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield module
    module.teardown()


def test_wandb_gets_numbers_findings_pictures_and_reports(
    diagnosis: Diagnosis, tmp_path: Path, wandb: Any
) -> None:
    with wandb.init(project="p", dir=str(tmp_path)) as run:
        run.log({"loss": 0.5}, step=9000)
        log_to_wandb(diagnosis)
        summary = dict(run.summary)
        folder = Path(run.dir)
    expected = entries_of(diagnosis, None, with_pictures=False)
    for name, value in expected.numbers.items():
        assert summary[name] == pytest.approx(value)
    assert summary["koopscope/step"] == LAST_STEP
    assert summary["koopscope/next"] == diagnosis.next.line
    media = folder / "media"
    drawn = {
        path.name.partition("_")[0]
        for path in (media / "images" / "koopscope" / "pictures").iterdir()
    }
    assert {name.partition("_")[0] for name in PICTURES} <= drawn
    (table,) = (media / "table" / "koopscope").iterdir()
    assert len(json.loads(table.read_text())["data"]) == len(diagnosis.findings)
    (page,) = (media / "html" / "koopscope").iterdir()
    assert page.read_text("utf-8") == expected.reports["report.html"]


def test_without_a_run_of_wandb_one_is_asked_for(diagnosis: Diagnosis, wandb: Any) -> None:
    with pytest.raises(KoopscopeError, match="no W&B run is active") as caught:
        log_to_wandb(diagnosis)
    assert "wandb.init()" in (caught.value.hint or "")


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = framework("mlflow")
    monkeypatch.chdir(tmp_path)
    module.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield module
    module.set_tracking_uri(None)


def test_mlflow_gets_numbers_findings_pictures_and_reports(
    diagnosis: Diagnosis, tmp_path: Path, mlflow: Any
) -> None:
    with mlflow.start_run() as run:
        log_to_mlflow(diagnosis)
    client = mlflow.MlflowClient()
    expected = entries_of(diagnosis, None, with_pictures=False)
    kept = client.get_run(run.info.run_id).data
    assert kept.metrics == pytest.approx(dict(expected.numbers))
    assert kept.tags["koopscope.next"] == diagnosis.next.line
    folders = ("koopscope", "koopscope/pictures")
    listed = [client.list_artifacts(run.info.run_id, folder) for folder in folders]
    files = {file.path for files in listed for file in files}
    names = [*(f"pictures/{name}.png" for name in PICTURES), *expected.reports, "findings.md"]
    assert {f"koopscope/{name}" for name in names} <= files
    got = client.download_artifacts(run.info.run_id, "koopscope/report.json", str(tmp_path))
    assert Path(got).read_text("utf-8") == expected.reports["report.json"]


def test_mlflow_takes_another_run_and_a_later_step(diagnosis: Diagnosis, mlflow: Any) -> None:
    client = mlflow.MlflowClient()
    run = client.create_run(client.create_experiment("e")).info.run_id
    for step in (10, 20):
        log_to_mlflow(diagnosis, run, step=step, pictures=False)
    points = client.get_metric_history(run, "koopscope/overfitting")
    assert [point.step for point in points] == [10, 20]


def test_without_a_run_of_mlflow_one_is_asked_for(diagnosis: Diagnosis, mlflow: Any) -> None:
    with pytest.raises(KoopscopeError, match="no MLflow run is active"):
        log_to_mlflow(diagnosis)
    assert mlflow.active_run() is None


def test_trackio_gets_numbers_findings_and_pictures(diagnosis: Diagnosis) -> None:
    trackio = framework("trackio")
    project = "koopscope-tests"
    folder = Path(trackio.TRACKIO_DIR)
    run = trackio.init(project=project, name="r", embed=False, auto_log_gpu=False)
    try:
        log_to_trackio(diagnosis)
        trackio.finish()
        (entry,) = trackio.SQLiteStorage.get_logs(project, run.name)
        expected = entries_of(diagnosis, None, with_pictures=False)
        assert entry["step"] == LAST_STEP
        for name, value in expected.numbers.items():
            assert entry[name] == pytest.approx(value)
        assert len(entry["koopscope/findings"]["_value"]) == len(diagnosis.findings)
        pictures = list((folder / "media" / project).rglob("*.png"))
        assert len(pictures) == len(PICTURES)
    finally:
        trackio.delete_project(project, force=True)
        shutil.rmtree(folder / "media" / project, ignore_errors=True)


def test_without_a_run_of_trackio_one_is_asked_for(diagnosis: Diagnosis) -> None:
    trackio = framework("trackio")
    trackio.context_vars.current_run.set(None)
    with pytest.raises(KoopscopeError, match="no Trackio run is active"):
        log_to_trackio(diagnosis)


@pytest.mark.parametrize(
    ("name", "log"),
    [("wandb", log_to_wandb), ("mlflow", log_to_mlflow), ("trackio", log_to_trackio)],
)
def test_a_tracker_that_is_missing_is_named(
    diagnosis: Diagnosis, monkeypatch: pytest.MonkeyPatch, name: str, log: Any
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(KoopscopeError, match=f"{name} is not installed") as caught:
        log(diagnosis)
    assert caught.value.hint == f"pip install 'koopscope[{name}]'"
