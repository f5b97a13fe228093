"""Baselines are what their names say, as combinations of increments."""

from __future__ import annotations

import numpy as np

from koopscope.forecasting.baselines import DECAY, exponential_average, last_step, straight_line

WEIGHTS = np.random.default_rng(0).standard_normal((9, 4)).cumsum(axis=0)
INCREMENTS = np.diff(WEIGHTS, axis=0)


def test_the_last_step_is_repeated():
    moved = last_step(8, [1.0, 4.0]).T @ INCREMENTS
    np.testing.assert_allclose(moved, [INCREMENTS[-1], 4 * INCREMENTS[-1]])


def test_a_straight_line_goes_on_with_the_mean_of_the_last_increments():
    moved = straight_line(8, [3.0], count=5).T @ INCREMENTS
    np.testing.assert_allclose(moved[0], 3 * (WEIGHTS[-1] - WEIGHTS[-6]) / 5)


def test_a_straight_line_through_few_increments_takes_them_all():
    moved = straight_line(2, [1.0], count=5).T @ INCREMENTS[-2:]
    np.testing.assert_allclose(moved[0], (WEIGHTS[-1] - WEIGHTS[-3]) / 2)


def test_the_exponential_average_is_that_of_the_snapshots():
    counts = DECAY ** np.arange(8, -1, -1)
    mean = counts @ WEIGHTS / counts.sum()
    moved = exponential_average(8, [1.0, 7.0]).T @ INCREMENTS
    np.testing.assert_allclose(WEIGHTS[-1] + moved, [mean, mean])
