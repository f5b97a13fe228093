"""``--shards``, ``--engine`` and ``--no-cache`` as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import koopscope
from koopscope.engine import cache

Call = Callable[..., tuple[int, str, str]]
Analyze = Callable[..., tuple[int, str, str]]


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


@pytest.fixture(name="analyze")
def calling_analyze(call: Call) -> Analyze:
    return lambda *words: call("analyze", "--format", "json", *words)


def answer(called: tuple[int, str, str]) -> dict[str, Any]:
    code, printed, said = called
    assert code == 0, said
    found: dict[str, Any] = json.loads(printed)
    return found


def test_shards_give_the_spectra_of_the_whole(tmp_path: Path, analyze: Analyze) -> None:
    whole = record(tmp_path / "whole.h5", "abc")
    one, other = (
        record(tmp_path / "run.rank0.h5", "ab"),
        record(tmp_path / "run.rank1.h5", "c"),
    )
    together = answer(analyze("--shards", one, other))
    assert together["spectra"] == answer(analyze(whole))["spectra"]
    assert together["run"]["tensors"] == 3


def test_without_shards_each_file_is_a_run(tmp_path: Path, analyze: Analyze) -> None:
    files = record(tmp_path / "run.rank0.h5", "ab"), record(tmp_path / "run.rank1.h5", "c")
    assert len(answer(analyze(*files))["runs"]) == 2


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path, analyze: Analyze) -> None:
    files = record(tmp_path / "run.rank0.h5", "a"), record(tmp_path / "run.rank1.h5", "b", 19)
    code, _, said = analyze("--shards", *files)
    assert code == 2
    assert "holds 20 snapshots and" in said


def test_a_scheduler_without_its_engine_is_a_usage_error(tmp_path: Path, analyze: Analyze) -> None:
    code, _, said = analyze(record(tmp_path / "run.h5", "a"), "--scheduler", "tcp://127.0.0.1:1")
    assert code == 2
    assert "--scheduler needs --engine dask" in said


def test_the_second_answer_is_the_same_to_the_byte(
    tmp_path: Path, analyze: Analyze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(cache, "LARGEST_PART", 100.0)
    path = record(tmp_path / "run.h5", "abc")
    first = analyze(path)
    assert len(list(tmp_path.iterdir())) == 2
    assert analyze(path)[:2] == first[:2]
    assert analyze(path, "--no-cache")[:2] == first[:2]


def test_no_cache_keeps_nothing(
    tmp_path: Path, analyze: Analyze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(cache, "LARGEST_PART", 100.0)
    assert answer(analyze("--no-cache", record(tmp_path / "run.h5", "abc")))["spectra"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]
