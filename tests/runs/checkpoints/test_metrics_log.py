"""Metrics are taken from what training programs log, matched by step, and what is left is said."""

import json

import numpy as np
import pytest

from koopscope.cli.main import main
from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.event_files import _masked_crc, scalars_of
from koopscope.runs.checkpoints.metrics_log import metrics_from
from koopscope.runs.native.recorder import Recorder

STEPS = [0, 10, 20, 30]
LOG = [
    {"step": 10, "loss": 0.5, "note": "x", "eval": {"loss": 0.7}},
    {"step": 15, "loss": 0.4},
    {"step": 30, "loss": 0.2, "learning_rate": 0.1, "bad": None, "flag": True},
    {"step": 45, "loss": 0.1},
]


def expected(found):
    np.testing.assert_array_equal(found.columns["loss"], [np.nan, 0.5, 0.4, 0.2])
    np.testing.assert_array_equal(found.columns["val_loss"], [np.nan, 0.7, np.nan, np.nan])
    np.testing.assert_array_equal(found.columns["lr"], [np.nan, np.nan, np.nan, 0.1])
    assert set(found.columns) == {"loss", "val_loss", "lr"}
    late, missing = found.unmatched
    assert late.startswith("1 of 4 entries of")
    assert missing.startswith("1 of 4 snapshots have no entry")


def test_json_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, LOG)) + "\n\n")
    expected(metrics_from(path, STEPS, "step"))


@pytest.mark.parametrize("form", ["list", "trainer_state", "by_step"])
def test_json(tmp_path, form):
    content = {
        "list": LOG,
        "trainer_state": {
            "global_step": 45,
            "log_history": [*LOG, {"step": 45, "train_runtime": 3}],
        },
        "by_step": {str(row["step"]): row for row in LOG},
    }[form]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    expected(metrics_from(path, STEPS, "step"))


def test_json_of_lists_has_a_row_per_snapshot(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"loss": [4, 3, 2, 1], "name": "run"}))
    found = metrics_from(path, STEPS, "step")
    np.testing.assert_array_equal(found.columns["loss"], [4, 3, 2, 1])
    assert found.unmatched == ()


def test_the_checksum_is_that_of_the_standard():
    """RFC 3720, B.4: the CRC-32C of 32 zeros and of 32 ones."""
    for data, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)):
        assert _masked_crc(data) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.fixture
def events(tmp_path):
    tensorboard = pytest.importorskip("tensorboardX")
    with tensorboard.SummaryWriter(str(tmp_path / "tb")) as writer:
        for row in LOG:
            writer.add_scalar("train/loss", row["loss"], row["step"])
            writer.add_histogram("weights", np.arange(10.0), row["step"])
        writer.add_scalar("eval/loss", 0.7, 10)
    (path,) = (tmp_path / "tb").glob("events.out.tfevents.*")
    return path


def test_event_files_of_tensorboard(events):
    found = metrics_from(events, STEPS, "step")
    float32 = np.array([np.nan, 0.5, 0.4, 0.2], np.float32)
    np.testing.assert_array_equal(found.columns["loss"], float32)
    np.testing.assert_array_equal(found.columns["val_loss"][1], np.float32(0.7))
    assert set(found.columns) == {"loss", "val_loss"}


def test_an_event_file_that_is_still_written_is_read_up_to_its_end(events):
    whole = list(scalars_of(events))
    events.write_bytes(events.read_bytes()[:-9])
    assert list(scalars_of(events)) == whole[:-1]


def test_damage_in_an_event_file_is_an_error(events):
    content = bytearray(events.read_bytes())
    content[len(content) // 2] ^= 1
    events.write_bytes(content)
    with pytest.raises(KoopscopeError, match="damaged"):
        list(scalars_of(events))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "events.out.tfevents.1", "a.csv"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff{", b"[[[[", b'{"a": '])
def test_anything_else_is_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KoopscopeError, match=name):
        metrics_from(tmp_path / name, STEPS, "step")


def test_analyze_takes_the_metrics_along(tmp_path, capsys):
    with Recorder(tmp_path / "run.h5") as recorder:
        for t in range(20):
            recorder.snapshot(10 * t, {"w": 0.9**t * np.ones(4)})
    log = [{"step": 10 * t, "loss": 1 / (1 + t)} for t in range(20)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    words = ["analyze", tmp_path / "run.h5", "--metrics", tmp_path / "log.jsonl", "-f", "json"]
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    found = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0
    (convergence,) = (f for f in found["findings"] if f["id"] == "convergence")
    assert convergence["evidence"]["from"] == "weights and training loss"
