"""The predicted rest of the way of trajectories that decay to a known limit."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.remainder import remainder, remaining_course, remaining_displacement


def decaying(rates, snapshots, noise=0.0, seed=0):
    """w_t = sum_j rates_j^t v_j with orthonormal v_j: the limit is zero."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.standard_normal((200, len(rates))))[0]
    t = np.arange(snapshots)
    path = (np.array(rates)[:, None] ** t).T @ vectors.T
    return path + noise * rng.standard_normal(path.shape)


def test_it_is_the_distance_to_the_limit():
    path = decaying([0.9, 0.7], 12)
    spectrum = dmd(gram_of(path), "increments", rank=2)
    assert remaining_displacement(spectrum) == pytest.approx(np.linalg.norm(path[-1]), rel=1e-6)


def test_the_interval_of_a_noisy_run_holds_the_distance_and_narrows_with_less_noise():
    widths = []
    for noise in (3e-4, 3e-5):
        path = decaying([0.93, 0.8], 24, noise)
        found = remainder(dmd(gram_of(path), "increments", rank=2))
        truth = float(np.linalg.norm(decaying([0.93, 0.8], 24)[-1]))
        assert found.low <= found.distance <= found.high
        assert 0.5 * found.low < truth < 2.0 * found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0]


def test_the_same_spectrum_gives_the_same_interval():
    spectrum = dmd(gram_of(decaying([0.9, 0.8], 20, 1e-4)), "increments", rank=2)
    assert remainder(spectrum) == remainder(spectrum)


def test_nothing_that_moves_has_nothing_left():
    still = np.ones((10, 4))
    assert remaining_displacement(dmd(gram_of(still), "increments", rank=4)) == 0.0


def test_a_single_move_leaves_nothing_to_come():
    snapshots = np.outer(np.arange(40) >= 7, np.ones(30)) + 1.0
    rest = remainder(dmd(gram_of(snapshots), rank=1))
    assert (rest.distance, rest.low, rest.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("snapshots", [10, 16, 17, 60])
@pytest.mark.parametrize("weights", [6, 200])
def test_a_course_is_what_the_window_before_each_snapshot_predicts(snapshots, weights):
    path = decaying([0.95, 0.8], snapshots, noise=1e-3)[:, :weights]
    path[5:8] = path[5]  # at rest for a while
    gram = gram_of(path)
    found = remaining_course(gram, 16, 4, 8)
    for t in range(8, snapshots):
        window = gram.window(max(0, t - 15), t + 1)
        expected = remaining_displacement(dmd(window, "increments", rank=4))
        assert found[t] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert not found[:8].any()
