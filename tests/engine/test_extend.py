"""Inner products that grew with the run are those of the run read at once."""

import numpy as np
import pytest

from koopscope.engine.extend import grown_grams
from koopscope.engine.local import snapshot_grams
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder


def snapshot(step, seed=0):
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, 60, 50))
    return {"a": a + 0.9**step * b, "b": (c * (1 + 1e-4 * step)).astype(np.float32)[:3]}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name in expected:
        ours, theirs = found[name], expected[name]
        scale = np.abs(theirs.increments).max(initial=0.0)
        np.testing.assert_allclose(ours.increments, theirs.increments, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(ours.anchor_increments, theirs.anchor_increments, rtol=1e-10)
        np.testing.assert_array_equal(ours.changes.unchanged, theirs.changes.unchanged)
        np.testing.assert_array_equal(ours.nonfinite, theirs.nonfinite)


def grow(path, stops, value=snapshot):
    recorder, known, step = Recorder(path), {}, 0
    for stop in stops:
        while step < stop:
            recorder.snapshot(step, value(step))
            step += 1
        with open_run(path) as run:
            known = grown_grams(run, run.description.tensors, known)
            assert_same(known, snapshot_grams(run, run.description.tensors))
    return known


@pytest.mark.parametrize("stops", [range(1, 12), [4, 5, 9], [1, 12], [6, 6, 7]])
def test_growing_by_rows_gives_the_same_products(tmp_path, stops):
    grow(tmp_path / "run.h5", stops)


def test_snapshots_that_are_not_finite_are_counted_alike(tmp_path):
    def value(step):
        tensors = snapshot(step)
        if step in (4, 7):
            tensors["a"][3, 3] = np.nan
        return tensors

    grow(tmp_path / "run.h5", range(1, 11), value)


def test_a_run_written_anew_is_read_anew(tmp_path):
    known = grow(tmp_path / "run.h5", [5])
    recorder = Recorder(tmp_path / "other.h5")
    for step in range(8):
        recorder.snapshot(step, snapshot(step, seed=1))
    with open_run(tmp_path / "other.h5") as run:
        found = grown_grams(run, run.description.tensors, known)
        assert_same(found, snapshot_grams(run, run.description.tensors))
