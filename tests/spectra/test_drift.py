"""Drift and scatter: causal, and what they are said to be on motions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.spectra import drift
from koopscope.spectra.accumulating import gram_of


def last(snapshots: np.ndarray) -> dict[str, float]:
    return {name: float(values[-1]) for name, values in drift.course(gram_of(snapshots)).items()}


def test_a_straight_line_drifts_and_does_not_turn():
    found = last(np.arange(60.0)[:, None] * np.ones(5))
    assert found["drift_turn"] == pytest.approx(1.0)
    assert found["cosine_2"] == pytest.approx(1.0)
    assert found["drift_change"] == pytest.approx(0.0, abs=1e-6)
    assert found["homeward"] == pytest.approx(np.log(59 / 29))
    assert found["speed_slope"] == pytest.approx(0.0, abs=1e-9)
    # Means of 15 snapshots in a row lie 15 apart; they scatter as 15 numbers in a row do.
    assert found["drift_scatter"] == pytest.approx(np.log(15.0 / (2.0 * np.arange(15).std())))


def test_noise_about_a_place_scatters_and_does_not_drift():
    found = last(np.random.default_rng(0).standard_normal((80, 400)))
    assert found["drift_scatter"] < -1.0
    assert abs(found["cosine_2"]) < 0.1
    assert abs(found["speed_half"]) < 0.1


def test_a_way_that_goes_with_log_t_slows_down_as_one_over_t():
    found = last(np.log(np.arange(1.0, 202.0))[:, None] * np.ones(3))
    assert found["speed_slope"] == pytest.approx(-1.0, abs=0.05)
    assert found["apart"] == pytest.approx(np.log(np.log(201 / 101) / np.log(101)), abs=1e-6)


def test_no_statistic_sees_the_future():
    snapshots = np.random.default_rng(1).standard_normal((50, 30)).cumsum(axis=0)
    short, long = (drift.course(gram_of(snapshots[:count])) for count in (30, 50))
    for name, values in long.items():
        assert values[:30] == pytest.approx(short[name], abs=1e-9), name


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_few_snapshots_and_weights_that_stand_still_give_numbers(count):
    for snapshots in (np.ones((count, 4)), np.random.default_rng(2).standard_normal((count, 4))):
        for name, values in drift.course(gram_of(snapshots)).items():
            assert values.shape == (count,), name
            assert np.isfinite(values).all(), name
