"""Gram matrices read off sketches: exact where facts are, and honest about the rest."""

import numpy as np
import pytest

from koopscope import Recorder
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine.extend import grown_grams
from koopscope.engine.sketched import sketched_grams
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.views.excerpt import Excerpt
from koopscope.runs.views.progression import evenly_spaced
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.measured import GROUPS

SNAPSHOTS = 14


def weights():
    rng = np.random.default_rng(3)
    start, slow, fast = rng.normal(size=(3, 40, 50))
    moving = [start + 0.9**t * slow + 0.6**t * fast for t in range(SNAPSHOTS)]
    return np.array(moving, np.float32)


def recorded(path, numbers, steps=range(SNAPSHOTS)):
    with Recorder(path, sketch=numbers) as recorder:
        for step, values in zip(steps, weights(), strict=False):
            recorder.snapshot(step, {"w": values})
    return path


@pytest.fixture
def exact():
    return gram_of(weights().reshape(SNAPSHOTS, -1).astype(float))


def grams_of(path):
    with open_run(path) as run:
        return sketched_grams(run, run.description.tensors)


def test_a_tensor_that_is_kept_whole_has_its_own_matrix(tmp_path, exact):
    grams = grams_of(recorded(tmp_path / "run.h5", 2_000))
    assert grams.is_exact("w")
    scale = np.abs(exact.increments).max()
    np.testing.assert_allclose(grams["w"].increments, exact.increments, atol=1e-6 * scale)


def test_what_facts_tell_is_exact_and_the_rest_is_near(tmp_path, exact):
    found = grams_of(recorded(tmp_path / "run.h5", 64))["w"]
    lengths = np.sqrt(np.diagonal(exact.increments))
    scale = lengths[:, None] * lengths
    difference = np.abs(found.increments - exact.increments) / scale
    assert np.diagonal(difference).max() < 1e-5
    assert np.diagonal(difference, 1).max() < 1e-5
    assert difference.max() < 6.0 * np.sqrt(2.0 / 64)
    # Distances from the start, and norms, are facts as well.
    squares = np.diagonal(exact.anchored())
    np.testing.assert_allclose(np.diagonal(found.anchored()), squares, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(found.raw()), np.diagonal(exact.raw()), rtol=1e-5)
    assert found.changes.compared == 2_000
    assert found.changes.still == exact.changes.still


def test_the_groups_mean_is_the_estimate_and_their_spread_its_error(tmp_path, exact):
    grams = grams_of(recorded(tmp_path / "run.h5", 64))
    measured = grams.measured("w")
    parts = [measured.without(group).increments for group in range(GROUPS)]
    np.testing.assert_allclose(np.mean(parts, axis=0), measured.gram.increments, rtol=1e-9)
    spread = np.sqrt((GROUPS - 1) / GROUPS * np.square(parts - np.mean(parts, axis=0)).sum(axis=0))
    far = np.abs(np.subtract.outer(range(SNAPSHOTS - 1), range(SNAPSHOTS - 1))) > 1
    errors = (measured.gram.increments - exact.increments)[far]
    assert 0.4 < np.sqrt(np.mean(errors**2) / np.mean(spread[far] ** 2)) < 2.5
    assert spread[~far].max() < 1e-6 * np.abs(exact.increments).max()


def test_some_of_the_snapshots_are_a_run_of_their_own(tmp_path, exact):
    with open_run(recorded(tmp_path / "run.h5", 64)) as run:
        view = Excerpt(run, np.arange(2, SNAPSHOTS, 3), 100)
        found = sketched_grams(view, view.description.tensors)["w"]
    chosen = gram_of(weights().reshape(SNAPSHOTS, -1)[2::3].astype(float))
    lengths = np.sqrt(np.diagonal(chosen.increments))
    difference = np.abs(found.increments - chosen.increments) / (lengths[:, None] * lengths)
    assert difference.max() < 6.0 * np.sqrt(2.0 / 64)


def test_uneven_steps_are_analysed_as_those_of_weights_are(tmp_path):
    steps = [0, 1, 2, 4, 8, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    with open_run(recorded(tmp_path / "run.h5", 64, steps)) as run:
        analysis = Analysis.of(evenly_spaced(run), Settings())
    assert analysis.description.steps.tolist() == [0, *range(10, 100, 10)]
    assert analysis.settings.method == "sketch"


def test_following_a_growing_run_needs_no_weights(tmp_path):
    path = recorded(tmp_path / "run.h5", 64)
    with open_run(path) as run:
        grown = grown_grams(run, run.description.tensors, {})
        np.testing.assert_array_equal(
            grown["w"].increments, sketched_grams(run, run.description.tensors)["w"].increments
        )


@pytest.mark.parametrize("method", ["exact", "compressed"])
def test_a_method_that_reads_weights_is_refused(tmp_path, method):
    with (
        open_run(recorded(tmp_path / "run.h5", 64)) as run,
        pytest.raises(KoopscopeError, match="no weights to read"),
    ):
        Analysis.of(run, Settings(method=method))


def test_sketches_that_are_not_there_are_refused(tmp_path):
    with Recorder(tmp_path / "run.h5") as recorder:
        recorder.snapshot(0, {"w": np.ones(3)})
    with open_run(tmp_path / "run.h5") as run:
        with pytest.raises(KoopscopeError, match="holds weights"):
            Analysis.of(run, Settings(method="sketch"))
        with pytest.raises(KoopscopeError, match="holds weights"):
            run.sketched(run.description.tensors[0])


def test_a_run_of_one_snapshot_is_no_trouble(tmp_path):
    with open_run(recorded(tmp_path / "run.h5", 64, [5])) as run:
        analysis = Analysis.of(run, Settings())
    assert not analysis.has_spectrum
