"""A pooled run is the run of its means."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.views import averaged
from koopscope.runs.views.averaged import PooledRun
from tests.recorded import recorded


@pytest.fixture
def weights():
    return np.random.default_rng(0).standard_normal((23, 7, 5)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 400, 1 << 20])
def test_rows_are_means_whatever_the_size_of_a_read(tmp_path, weights, monkeypatch, block):
    monkeypatch.setattr(averaged, "BLOCK_BYTES", block)
    with open_run(recorded(tmp_path / "run.h5", {"w": weights})) as run:
        coarse = PooledRun(run, 5, 1, 22)
        assert coarse.description.steps.tolist() == [4, 9, 14, 19]
        found = np.concatenate([b.values.copy() for b in coarse.blocks()], axis=1)
    expected = weights[2:22].reshape(4, 5, 35).astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("every", [2, 25])
def test_what_cannot_be_pooled_is_refused(tmp_path, weights, every):
    with (
        open_run(recorded(tmp_path / "run.h5", {"w": weights})) as run,
        pytest.raises(KoopscopeError, match=f"23 snapshots cannot be pooled by {every}"),
    ):
        PooledRun(run, every, 0, 23)


def test_pools_of_one_are_some_of_the_snapshots_as_they_are(tmp_path, weights):
    with open_run(recorded(tmp_path / "run.h5", {"w": weights})) as run:
        part = PooledRun(run, 1, 3, 9)
        assert part.description.steps.tolist() == [3, 4, 5, 6, 7, 8]
        (block,) = part.blocks()
    assert block.values.dtype == np.float32
    np.testing.assert_array_equal(block.values, weights[3:9].reshape(6, 35))
