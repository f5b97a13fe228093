"""A writer may die at any moment, and a reader may look at any moment: no snapshot is lost."""

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5 import journal
from koopscope.runs.native.recorder import Recorder

ROOT = Path(__file__).parents[2]
PAGE = 4096


def started(*words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, *words], env=environment, text=True, **options)


def assert_whole(path, least):
    """Every snapshot up to the last committed one is there, complete, and there are enough."""
    with open_run(path) as run:
        snapshots = run.description.snapshots
        assert snapshots >= least
        np.testing.assert_array_equal(run.description.steps, np.arange(snapshots))
        np.testing.assert_array_equal(run.description.metrics["loss"], np.arange(snapshots))
        for block in run.blocks():
            assert (block.values == np.arange(snapshots)[:, None]).all(), block.tensor.name
    return snapshots


def assert_whole_to_others(path, least):
    """A program that knows nothing of journals reads the same snapshots."""
    with h5py.File(path, "r", locking=False) as file:
        snapshots = len(file["step"])
        assert snapshots >= least
        for name, dataset in file["weights"].items():
            values = dataset[:snapshots].reshape(snapshots, -1)
            assert (values == np.arange(snapshots)[:, None]).all(), name


def assert_sketches_whole(path, least):
    """Every committed sketch is of the snapshot of its step, with its facts; so are weights."""
    with open_run(path) as run:
        about = run.description
        assert about.snapshots >= least
        np.testing.assert_array_equal(about.steps, np.arange(about.snapshots))
        sizes = {tensor.name: tensor.size for tensor in about.tensors}
        assert sizes == {"a.weight": 350_000, "a.bias": 7, "b.weight": 1200, "b.scale": 1}
        for tensor in about.tensors:
            found = run.sketched(tensor)
            squares = tensor.size * np.arange(about.snapshots, dtype=float) ** 2
            np.testing.assert_allclose(found.fact("square"), squares, rtol=1e-6)
            # Each snapshot is the step times the same tensor of ones.
            ones = found.values[1 if about.snapshots > 1 else 0]
            np.testing.assert_allclose(
                found.values, np.arange(about.snapshots)[:, None] * ones, rtol=1e-5, atol=1e-3
            )
        kept = about.sketch.kept
        if kept:
            for block in run.with_weights("a test").blocks():
                assert (block.values == np.array(kept)[:, None]).all()


def test_a_killed_recorder_of_sketches_loses_no_committed_snapshot(tmp_path):
    path = tmp_path / "run.h5"
    moments = random.Random(2)
    script = str(Path(__file__).with_name("dying_writer.py"))
    words = [script, str(path), "sketch=16", "keep_every=4"]
    with started(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1) as writer:
        for _ in range(8):
            writer.stdin.write(f"{moments.uniform(0, 0.08)}\n")
            told = int(writer.stdout.readline())
            assert_sketches_whole(path, told + 1)
        writer.stdin.close()
        assert writer.wait(60) == 0


def test_a_writer_killed_at_twenty_random_moments_loses_no_committed_snapshot(tmp_path):
    path = tmp_path / "run.h5"
    moments = random.Random(1)
    script = str(Path(__file__).with_name("dying_writer.py"))
    with started(
        script, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
    ) as writer:
        for _ in range(20):
            writer.stdin.write(f"{moments.uniform(0, 0.08)}\n")
            told = int(writer.stdout.readline())
            assert_whole(path, told + 1)
            assert_whole_to_others(path, told + 1)
        writer.stdin.close()
    assert writer.returncode == 0


class WrittenLog:
    """Stands in for ``os`` in the journal: writes through, and notes every write in order."""

    def __init__(self):
        self.writes = []

    def __getattr__(self, name):
        return getattr(os, name)

    def pwrite(self, descriptor, data, offset):
        self.writes.append((offset, bytes(data)))
        return os.pwrite(descriptor, data, offset)

    def ftruncate(self, descriptor, size):
        self.writes.append((size, None))
        os.ftruncate(descriptor, size)

    def states(self, before):
        """Yield every content a death can leave behind, and whether it fell between two writes.

        The system copies a write page by page, so a write may also end at a page's border.
        """
        content = bytearray(before)
        for offset, data in self.writes:
            yield bytes(content), True
            if data is None:
                content = content[:offset].ljust(offset, b"\0")
                continue
            content = content.ljust(offset + len(data), b"\0")
            for done in range(PAGE - offset % PAGE, len(data), PAGE):
                partly = bytearray(content)
                partly[offset : offset + done] = data[:done]
                yield bytes(partly), False
            content[offset : offset + len(data)] = data
        yield bytes(content), True


def test_every_state_that_a_death_while_appending_can_leave_is_whole_and_goes_on(
    tmp_path, monkeypatch
):
    path, dead = tmp_path / "run.h5", tmp_path / "dead.h5"

    def weights(step):
        shapes = {"a.weight": (40, 50), "a.bias": (3,), "b": ()}
        return {name: np.full(shape, step, np.float32) for name, shape in shapes.items()}

    recorder = Recorder(path)
    lengths = set()
    for step in range(6):
        before = path.read_bytes() if step else b""
        log = WrittenLog()
        monkeypatch.setattr(journal, "os", log)
        recorder.snapshot(step, weights(step), loss=step, **({"late": 1.0} if step == 4 else {}))
        monkeypatch.undo()
        for content, between_writes in log.states(before) if step in (1, 4, 5) else ():
            dead.write_bytes(content)
            if between_writes:
                assert_whole_to_others(dead, step)
            length = assert_whole(dead, step)
            lengths.add(length - step)
            Recorder(dead).snapshot(length, weights(length), loss=length)
            assert assert_whole(dead, length + 1) == length + 1
    assert lengths == {0, 1}


WRITER = """
import sys, warnings
import numpy as np
from koopscope.runs.native.recorder import Recorder
warnings.simplefilter("error")
recorder = Recorder(sys.argv[1])
for step in range(500):
    tensors = {f"l{i}.weight": np.full((8, 16 + i), step, np.float32) for i in range(4)}
    assert recorder.snapshot(step, tensors, loss=step)
"""


def test_reading_while_another_process_appends_sees_whole_snapshots_and_blocks_nobody(tmp_path):
    path = tmp_path / "run.h5"
    writer = started("-W", "error", "-c", WRITER, str(path))
    while not path.exists():
        assert writer.poll() is None
    with open_run(path) as held_open:
        seen = set()
        while writer.poll() is None:
            seen.add(assert_whole(path, 1))
        assert all((block.values >= 0).all() for block in held_open.blocks())
    assert writer.returncode == 0
    assert len(seen) > 5
    assert assert_whole(path, 500) == 500


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_usable(tmp_path, monkeypatch, share):
    path = tmp_path / "run.h5"

    def weights(step):
        return {f"{k}.weight": np.full((40, 50), step, np.float32) for k in range(5)}

    recorder = Recorder(path)
    recorder.snapshot(0, weights(0), loss=0)
    before = path.read_bytes()
    log = WrittenLog()
    monkeypatch.setattr(journal, "os", log)
    recorder.snapshot(1, weights(1), loss=1)
    monkeypatch.undo()
    needed = max(offset + len(data) for offset, data in log.writes if data) - len(before)
    path.write_bytes(before)
    recorder = Recorder(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + int(share * needed), limits[1]))
    try:
        with pytest.warns(RuntimeWarning, match="step 1 was not recorded"):
            assert recorder.snapshot(1, weights(1), loss=1) is False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert recorder.snapshot(1, weights(1), loss=1)
    assert assert_whole(path, 2) == 2


@pytest.mark.parametrize("limit", [0, 100, 5_000, 20_000])
def test_a_disk_that_is_full_from_the_start_leaves_nothing(tmp_path, limit):
    path = tmp_path / "run.h5"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.warns(RuntimeWarning, match="step 0 was not recorded") as caught:
            assert Recorder(path).snapshot(0, {"w": np.zeros((100, 100))}, loss=0) is False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught[0].filename == __file__
    assert list(tmp_path.iterdir()) == []
