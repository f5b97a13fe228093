"""A cluster gives the numbers of the local pass, also when it loses a worker half-way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from koopscope.engine import cluster, scheduler
from koopscope.engine.cluster import DaskEngine, records
from koopscope.engine.local import snapshot_grams
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.views.shards import ShardedRun
from tests.engine.counts import assert_same_counts
from tests.frameworks import framework

distributed = framework("distributed")

SNAPSHOTS = 40


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as running:
        yield running


def write_shard(path: Path, tensors: dict[str, int]) -> Path:
    rng = np.random.default_rng(len(tensors))
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "koopscope-run", "format_version": "1.0"})
        weights = file.create_group("weights", track_order=True)
        for name, size in tensors.items():
            steps = 1e-3 * rng.standard_normal((SNAPSHOTS, size)).cumsum(0)
            values = (rng.standard_normal(size) + steps).astype(np.float32)
            weights.create_dataset(name, data=values, chunks=(1, min(size, 65536)))
        file["step"] = np.arange(SNAPSHOTS)
    return path


def assert_same(found: GramStore, wanted: GramStore) -> None:
    assert list(found) == list(wanted)
    for name in wanted:
        one, other = found[name], wanted[name]
        scale = np.abs(other.increments).max()
        np.testing.assert_allclose(one.increments, other.increments, rtol=0, atol=1e-12 * scale)
        along = np.abs(other.anchor_increments).max()
        np.testing.assert_allclose(
            one.anchor_increments, other.anchor_increments, rtol=0, atol=1e-12 * along
        )
        assert one.anchor_square == pytest.approx(other.anchor_square, rel=1e-12)
        assert_same_counts(one, other)


def test_a_worker_killed_half_way_changes_no_number(
    tmp_path: Path, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "TASK_BYTES", 4 * 2**20)
    path = write_shard(tmp_path / "run.h5", {"first": 200_000, "tiny": 5, "second": 500_000})
    killed: list[int] = []
    left: list[str] = []

    def kill_one(_: int) -> None:
        if not killed:
            states = [task.state for task in workers.scheduler.tasks.values()]
            left.extend(state for state in states if state not in ("memory", "released"))
            killed.append(next(iter(workers.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    with open_run(path) as run:
        found = DaskEngine(workers.scheduler_address)(run, run.description.tensors, kill_one)
        assert_same(found, snapshot_grams(run))
    assert left
    with pytest.raises(ProcessLookupError):
        os.kill(killed[0], 0)


def test_shards_are_one_run(tmp_path: Path, workers: Any) -> None:
    shards = {"run.rank0.h5": {"a": 3000, "b": 7}, "run.rank1.h5": {"c": 90_000}}
    paths = [write_shard(tmp_path / name, sizes) for name, sizes in shards.items()]
    with ShardedRun([open_run(path) for path in paths]) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["a", "b", "c"]
        found = DaskEngine(workers.scheduler_address)(run, run.description.tensors)
        assert_same(found, snapshot_grams(run))


def test_only_what_was_asked_for_is_computed(tmp_path: Path, workers: Any) -> None:
    path = write_shard(tmp_path / "run.h5", {"a": 30, "b": 40, "c": 50})
    with open_run(path) as run:
        wanted = run.description.tensors[1:2]
        found = DaskEngine(workers.scheduler_address)(run, wanted)
        assert_same(found, snapshot_grams(run, wanted))


def test_a_scheduler_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 1.0)
    path = write_shard(tmp_path / "run.h5", {"a": 30})
    with open_run(path) as run, pytest.raises(KoopscopeError) as raised:
        DaskEngine("tcp://127.0.0.1:1")(run, run.description.tensors)
    assert "no scheduler answers at tcp://127.0.0.1:1" in raised.value.message
    assert "dask scheduler" in str(raised.value.hint)


def test_an_address_that_is_none_is_named(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "run.h5", {"a": 30})
    with open_run(path) as run, pytest.raises(KoopscopeError, match="no scheduler answers at"):
        DaskEngine("nowhere://127.0.0.1:8786")(run, run.description.tensors)


def task_of(path: Path) -> cluster.Task:
    with open_run(path) as run:
        (task,) = cluster._tasks(run, run.description.tensors)
    return task


def test_a_worker_that_sees_another_file_refuses(tmp_path: Path) -> None:
    task = task_of(write_shard(tmp_path / "run.h5", {"a": 30}))
    assert len(records(task)) == 1
    with pytest.raises(KoopscopeError, match="not the same file"):
        records(replace(task, mtime_ns=task.mtime_ns + 1))


def test_a_worker_with_another_version_refuses(tmp_path: Path) -> None:
    task = task_of(write_shard(tmp_path / "run.h5", {"a": 30}))
    with pytest.raises(KoopscopeError, match=r"asked by koopscope 9\.9"):
        records(replace(task, version="9.9"))


def test_tasks_cover_every_weight_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "TASK_BYTES", 2**20)
    sizes = {"a": 200_000, "b": 5, "c": 7000, "d": 66_000}
    with open_run(write_shard(tmp_path / "run.h5", sizes)) as run:
        tasks = list(cluster._tasks(run, run.description.tensors))
    covered = {name: [] for name in sizes}
    for task in tasks:
        for name, start, stop in task.portions:
            covered[name].append((start, stop))
    for name, ranges in covered.items():
        assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
        assert ranges[-1][1] == sizes[name]
    assert len(tasks) > 10
