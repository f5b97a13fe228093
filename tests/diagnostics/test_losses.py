"""Statistics of recorded losses: causal, and the same for any zero and any unit of the loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.diagnostics.statistics import losses


def decaying(seed: int, snapshots: int = 60, noise: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(snapshots)
    return 2.3 * np.exp(-t / 12.0) + noise * rng.standard_normal(snapshots)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.floats(-100.0, 100.0))
def test_neither_the_zero_nor_the_unit_of_a_loss_matters(seed, factor, offset):
    loss = decaying(seed)
    ours, theirs = losses.course(loss), losses.course(factor * (loss + offset))
    for name, values in ours.items():
        assert theirs[name] == pytest.approx(values, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("future", [0.0, 50.0, 1e9, -1e9])
def test_no_statistic_sees_the_future(future):
    loss = decaying(3)
    short = losses.course(loss[:40])
    loss[40:] = future
    for name, values in losses.course(loss).items():
        np.testing.assert_array_equal(values[:40], short[name], err_msg=name)


def test_a_loss_that_falls_by_a_power_law_is_foreseen_to_twice_its_length():
    t = np.arange(1.0, 802.0)
    found = losses.course(t**-0.5)
    gained = 1.0 - t[400] ** -0.5
    foreseen = np.sinh(found["ahead"][400]) / 100.0
    assert foreseen == pytest.approx((t[400] ** -0.5 - t[800] ** -0.5) / gained, rel=0.15)


def test_a_flat_loss_has_nothing_ahead_and_a_falling_one_is_sure_to_fall():
    flat = losses.course(np.concatenate([[1.0], np.zeros(60)]))
    assert {flat[name][-1] for name in ("fall_3", "fall_20", "half", "ahead", "slope")} == {0.0}
    falling = losses.course(np.linspace(1.0, 0.0, 60))
    assert falling["fall_5"][-1] > 0.0
    assert falling["sure_20"][-1] > 20.0
    assert falling["since"][-1] == 0.0


def test_a_loss_that_rises_above_its_start_shows_by_how_much():
    rising = losses.course(np.concatenate([np.linspace(1.0, 0.5, 20), np.full(20, 1.5)]))
    assert np.sinh(rising["rise"][-1]) == pytest.approx(1.0)  # as far above as it had gained
    assert np.sinh(rising["bounce"][-1]) == pytest.approx(1.0)
    assert rising["since_share"][-1] == pytest.approx(20 / 39)


@pytest.mark.parametrize("loss", [[1.0], [1.0, 1.0], [0.0, 1e300, -1e300], [3.0] * 30])
def test_odd_losses_give_numbers(loss):
    for name, values in losses.course(np.array(loss)).items():
        assert np.isfinite(values).all(), name
