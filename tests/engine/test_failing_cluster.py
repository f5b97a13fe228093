"""A cluster that fails costs one sentence, soon: no scheduler, no worker, nobody who answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from koopscope import Recorder
from koopscope.engine import cluster, scheduler
from koopscope.engine.cluster import DaskEngine
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run

pytest.importorskip("distributed", reason="Dask is not installed")

PYTHON = sys.executable


@dataclass
class Cluster:
    address: str
    scheduler: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def kill(self, part: subprocess.Popen[bytes]) -> None:
        os.killpg(part.pid, signal.SIGKILL)
        part.wait()


def started(*words: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [PYTHON, "-m", *words], stdout=quiet, stderr=quiet, start_new_session=True
    )


@pytest.fixture
def two_processes() -> Iterator[Cluster]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    host = ("--host", "127.0.0.1")
    running = Cluster(
        address,
        started("distributed.cli.dask_scheduler", *host, "--port", str(port), "--no-dashboard"),
        started("distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"),
    )
    try:
        from distributed import Client

        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield running
    finally:
        for part in (running.worker, running.scheduler):
            if part.poll() is None:
                running.kill(part)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    recorder = Recorder(path)
    rng = np.random.default_rng(0)
    for step in range(8):
        tensors = {name: rng.standard_normal(1000).astype("f4") for name in ("a", "b")}
        recorder.snapshot(step, tensors)
    return path


def failure(path: Path, engine: DaskEngine, after_first: object = None) -> tuple[str, float]:
    began = time.monotonic()
    with open_run(path) as run, pytest.raises(KoopscopeError) as caught:
        engine(run, run.description.tensors, after_first)  # type: ignore[arg-type]
    return caught.value.message, time.monotonic() - began


def test_a_listener_that_never_answers_is_named_soon(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        message, seconds = failure(recorded, DaskEngine(address))
    assert message.startswith(f"no scheduler answers at {address}")
    assert seconds < 30


def test_the_death_of_all_workers_ends_the_pass(
    recorded: Path, two_processes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "ALONE_SECONDS", 3.0)
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(cluster, "TASK_BYTES", 1)

    def kill_worker(_: int) -> None:
        if two_processes.worker.poll() is None:
            two_processes.kill(two_processes.worker)

    message, _ = failure(recorded, DaskEngine(two_processes.address), kill_worker)
    assert message == "the cluster has had no worker for 3 s"


def test_the_death_of_the_scheduler_ends_the_pass(
    recorded: Path, two_processes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0.5)

    def kill_scheduler(_: int) -> None:
        if two_processes.scheduler.poll() is None:
            two_processes.kill(two_processes.scheduler)

    message, _ = failure(recorded, DaskEngine(two_processes.address), kill_scheduler)
    assert "scheduler has gone" in message
