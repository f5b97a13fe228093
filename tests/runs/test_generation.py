"""A reader of a run that is taken back meanwhile reads no number that was never recorded."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from koopscope.analysis.follow import Follower
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder


def tensors(step):
    return {f"l{k}": np.full((60, 200), step, np.float32) for k in range(3)}


RESUME = """
import sys, numpy as np
from koopscope import Recorder
recorder = Recorder(sys.argv[1], resume_from=9)
for step in range(10, 40):
    tensors = {f"l{k}": np.full((60, 200), step + 1000, np.float32) for k in range(3)}
    recorder.snapshot(step, tensors)
"""


@pytest.fixture
def path(tmp_path):
    with Recorder(tmp_path / "run.h5") as recorder:
        for step in range(30):
            recorder.snapshot(step, tensors(step))
    return tmp_path / "run.h5"


def test_a_reader_is_told_that_snapshots_were_taken_out(path):
    with open_run(path) as run:
        first, *rest = run.description.tensors
        values = np.empty((30, first.size), np.float32)
        run.read(first, 0, first.size, values)
        assert (values == np.arange(30)[:, None]).all()
        subprocess.run([sys.executable, "-c", RESUME, str(path)], check=True)
        for tensor in rest:
            with pytest.raises(KoopscopeError, match="taken back to an earlier step"):
                run.read(tensor, 0, tensor.size, values)
    with open_run(path) as run:
        assert run.description.generation == 1
        assert run.description.steps.tolist() == list(range(40))


def test_a_reader_is_not_disturbed_by_snapshots_that_are_added(path):
    with open_run(path) as run, Recorder(path) as recorder:
        for step, tensor in zip(range(30, 33), run.description.tensors, strict=True):
            recorder.snapshot(step, tensors(step))
            values = np.empty((30, tensor.size), np.float32)
            run.read(tensor, 0, tensor.size, values)
            assert (values == np.arange(30)[:, None]).all()


def test_following_a_run_that_is_taken_back_begins_anew(path):
    follower = Follower(path)
    follower.look()
    assert follower.analysis.description.snapshots == 30
    subprocess.run([sys.executable, "-c", RESUME, str(path)], check=True)
    assert follower.look()
    fresh = Follower(path)
    fresh.look()
    gram, expected = (each.analysis.grams["l0"] for each in (follower, fresh))
    np.testing.assert_array_equal(gram.increments, expected.increments)


def test_a_run_that_was_never_taken_back_says_nothing_of_it(path):
    with h5py.File(path) as file:
        assert "generation" not in file.attrs
    Recorder(path, resume_from=29).close()  # takes nothing out
    with h5py.File(path) as file:
        assert "generation" not in file.attrs
    for step in (20, 10):
        Recorder(path, resume_from=step).close()
    with h5py.File(path) as file:
        assert file.attrs["generation"] == 2
