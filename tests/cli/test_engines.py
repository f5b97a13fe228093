"""``--shards``, ``--engine`` and ``--no-cache`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import koopscope
from koopscope.cli.main import cli
from koopscope.engine import cache
from koopscope.errors import KoopscopeError


def record(path: Path, names: str, snapshots: int = 20) -> str:
    rng = np.random.default_rng(5)
    starts = {name: rng.standard_normal((2, 30, 20)) for name in "abc"}
    with koopscope.Recorder(path) as recorder:
        for t in range(snapshots):
            recorder.snapshot(
                5 * t,
                {
                    f"{name}.weight": (starts[name][0] + 0.9**t * starts[name][1]).astype(
                        np.float32
                    )
                    for name in names
                },
            )
    return str(path)


def analyze(*words: str) -> Result:
    return CliRunner().invoke(cli, ["analyze", "--format", "json", *words])


def spectra(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)["spectra"]
    return found


def test_shards_give_the_spectra_of_the_whole(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole.h5", "abc")
    one, other = (
        record(tmp_path / "run.rank0.h5", "ab"),
        record(tmp_path / "run.rank1.h5", "c"),
    )
    result = analyze("--shards", one, other)
    assert spectra(result) == spectra(analyze(whole))
    assert json.loads(result.stdout)["run"]["tensors"] == 3


def test_without_shards_each_file_is_a_run(tmp_path: Path) -> None:
    files = record(tmp_path / "run.rank0.h5", "ab"), record(tmp_path / "run.rank1.h5", "c")
    assert len(json.loads(analyze(*files).stdout)["runs"]) == 2


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    files = record(tmp_path / "run.rank0.h5", "a"), record(tmp_path / "run.rank1.h5", "b", 19)
    result = analyze("--shards", *files)
    assert isinstance(result.exception, KoopscopeError)
    assert "holds 20 snapshots and" in result.exception.message


def test_a_scheduler_without_its_engine_is_a_usage_error(tmp_path: Path) -> None:
    result = analyze(record(tmp_path / "run.h5", "a"), "--scheduler", "tcp://127.0.0.1:1")
    assert result.exit_code == 2
    assert "--scheduler needs --engine dask" in result.stderr


def test_the_second_answer_is_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(cache, "LARGEST_PART", 100.0)
    path = record(tmp_path / "run.h5", "abc")
    first = analyze(path)
    assert len(list(tmp_path.iterdir())) == 2
    assert analyze(path).stdout == first.stdout
    assert analyze(path, "--no-cache").stdout == first.stdout


def test_no_cache_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(cache, "LARGEST_PART", 100.0)
    spectra(analyze("--no-cache", record(tmp_path / "run.h5", "abc")))
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]
