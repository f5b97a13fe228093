"""Unevenly spaced runs are seen as their best even progression, exactly, and it is said."""

import numpy as np
import pytest

from koopscope.diagnostics.diagnosis import analyze
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.views.progression import best_progression, evenly_spaced

PYTHIA = [0, *(2**k for k in range(10)), *range(1000, 143_001, 1000)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (PYTHIA, list(range(0, 143_001, 1000))),
        ([0, 10, 20, 40, 50, 60, 70, 90, 100], [0, 20, 40, 60]),
        (list(range(0, 100, 10)), list(range(0, 100, 10))),
        ([0, 2, 4, 6, 7, 8, 9], [0, 2, 4, 6, 8]),
        ([5], []),
    ],
)
def test_the_longest_progression_is_found(steps, expected):
    found = np.array(steps)[best_progression(np.array(steps))]
    assert found.tolist() == expected


@pytest.fixture
def pythia(tmp_path):
    """A law with the factors 0.99 and 0.9 per 1000 steps, recorded at Pythia's steps."""
    rng = np.random.default_rng(0)
    start, slow, fast = rng.normal(size=(3, 40))
    with Recorder(tmp_path / "run.h5") as recorder:
        for step in PYTHIA:
            weights = start + 0.99 ** (step / 1000) * slow + 0.9 ** (step / 1000) * fast
            recorder.snapshot(step, {"w": weights}, loss=1 / (1 + step))
    return tmp_path / "run.h5"


def test_the_chosen_snapshots_are_read_exactly(pythia):
    with open_run(pythia) as run:
        seen = evenly_spaced(run)
        assert seen.description.steps.tolist() == list(range(0, 143_001, 1000))
        (block,) = (b.values.copy() for b in run.blocks())
        chosen = np.searchsorted(PYTHIA, range(0, 143_001, 1000))
        for size in (1 << 20, 9000):
            parts = [b.values.copy() for b in seen.blocks(block_bytes=size)]
            np.testing.assert_array_equal(np.concatenate(parts, axis=1), block[chosen])
        loss = seen.description.metrics["loss"]
        np.testing.assert_array_equal(loss, [1 / (1 + s) for s in range(0, 143_001, 1000)])
        assert "10 between or beside them left out (steps 1, 2, 4, ... 512)" in str(
            seen.description.notes
        )


def test_the_law_of_a_log_spaced_run_is_found_from_step_0(pythia):
    found = analyze(pythia, rank=2)
    eigenvalues = sorted(found.spectrum().eigenvalues.real)
    np.testing.assert_allclose(eigenvalues, [0.9, 0.99], rtol=1e-9)
    assert found.analysis.window.snapshots == 144
    assert found.analysis.description.steps[0] == 0


def test_what_is_asked_for_is_looked_at_alone(pythia):
    found = analyze(pythia, window=(100, 20_000))
    steps = found.analysis.description.steps[found.analysis.window.first :][:20]
    assert found.analysis.window.snapshots == 20
    assert steps.tolist() == list(range(1000, 20_001, 1000))


def test_an_even_run_is_the_run_itself(tmp_path):
    with Recorder(tmp_path / "run.h5") as recorder:
        for step in range(0, 100, 10):
            recorder.snapshot(step, {"w": np.ones(3)})
    with open_run(tmp_path / "run.h5") as run:
        assert evenly_spaced(run) is run
