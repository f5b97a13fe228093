"""Shards are one run if they say so together, and refused if they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.views.shards import ShardedRun


def shard(path: Path, names: str, steps: range = range(0, 50, 10), **metadata: object) -> Path:
    with koopscope.Recorder(path, metadata=metadata) as recorder:
        for step in steps:
            recorder.snapshot(
                step,
                {name: np.full((3, 2), step + k, np.float32) for k, name in enumerate(names)},
                loss=1.0 / (1 + step),
            )
    return path


def opened(*paths: Path) -> ShardedRun:
    return ShardedRun([open_run(path) for path in paths])


def refusal(*paths: Path) -> str:
    with pytest.raises(KoopscopeError) as raised:
        opened(*paths)
    assert raised.value.hint
    return raised.value.message


def test_shards_list_all_tensors_and_read_each_from_its_own_file(tmp_path: Path) -> None:
    with opened(
        shard(tmp_path / "run.rank0.h5", "ab"), shard(tmp_path / "run.rank1.h5", "c")
    ) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["a", "b", "c"]
        assert run.description.parameters == 18
        assert list(run.description.metrics) == ["loss"]
        assert [path.name for path in run.files] == ["run.rank0.h5", "run.rank1.h5"]
        first = {block.tensor.name: block.values[1, 0] for block in run.blocks()}
    assert first == {"a": 10.0, "b": 11.0, "c": 10.0}


def test_other_steps_are_refused(tmp_path: Path) -> None:
    one = shard(tmp_path / "run.rank0.h5", "a")
    other = shard(tmp_path / "run.rank1.h5", "b", range(0, 25, 5))
    assert "snapshot 1 is step 10 in" in refusal(one, other)
    assert "5 snapshots and" in refusal(one, shard(tmp_path / "b.h5", "b", range(0, 40, 10)))


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    one, other = shard(tmp_path / "a.h5", "ab"), shard(tmp_path / "b.h5", "b")
    assert "b is in" in refusal(one, other)


def test_a_missing_rank_is_named(tmp_path: Path) -> None:
    ranks = [shard(tmp_path / f"run.rank{k}.h5", "abcd"[k]) for k in (0, 1, 3)]
    assert "the shard of rank 2 is missing" in refusal(*ranks)
    assert "the shard of rank 0 is missing" in refusal(ranks[1])


def test_the_number_of_shards_that_the_run_says_is_believed(tmp_path: Path) -> None:
    one = shard(tmp_path / "one.h5", "a", world_size=2)
    assert "recorded in 2 shards, and 1 were named" in refusal(one)
    with opened(one, shard(tmp_path / "two.h5", "b", world_size=2)) as run:
        assert run.description.snapshots == 5
