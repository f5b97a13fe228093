"""Forecasts of trajectories whose law is known, and what must hold of any forecast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.law_of_motion import _expanded, law_of_motion, laws_of_motion
from tests.known_systems import trajectory

OBSERVABLES = ("increments", "weights", "centered")


def displacement(law, snapshots, horizons):
    increments = np.diff(snapshots.astype(np.float64), axis=0)
    return law.coefficients(horizons).T @ increments


@pytest.mark.parametrize("observable", OBSERVABLES)
@pytest.mark.parametrize("delay", [1, 2, 4])
def test_a_known_law_is_carried_on_exactly(observable, delay):
    path = trajectory([0.97, 0.9, 0.8 * np.exp(0.4j), 0.8 * np.exp(-0.4j)], snapshots=40)
    seen, horizons = path[:25], [1, 5, 15]
    law = law_of_motion(gram_of(seen), observable, rank=5 if observable != "increments" else 4,
                        delay=delay)  # fmt: skip
    found = displacement(law, seen, horizons)
    for predicted, k in zip(found, horizons, strict=True):
        true = path[24 + k] - path[24]
        assert np.linalg.norm(predicted - true) < 1e-5 * np.linalg.norm(true)


def test_without_noise_the_damping_that_is_chosen_hardly_damps():
    path = trajectory([0.97, 0.9, 0.7], snapshots=40)
    predicted = displacement(law_of_motion(gram_of(path[:25])), path[:25], [10])[0]
    true = path[34] - path[24]
    assert np.linalg.norm(predicted - true) < 0.02 * np.linalg.norm(true)


def test_of_noise_alone_no_motion_is_forecast():
    noise = np.random.default_rng(1).standard_normal((30, 4000)).cumsum(axis=0)
    predicted = displacement(law_of_motion(gram_of(noise), delay=2), noise, [10])[0]
    assert np.linalg.norm(predicted) < 0.5 * np.sqrt(10 * 4000)


def test_a_straight_drift_goes_on_and_horizon_zero_is_no_change():
    steps = np.arange(12.0)[:, None] * np.random.default_rng(0).standard_normal(50)
    law = law_of_motion(gram_of(steps), rank=1)
    none, half, nine = displacement(law, steps, [0, 0.5, 9])
    np.testing.assert_allclose(none, 0.0, atol=1e-12)
    np.testing.assert_allclose(half, 0.5 * steps[1], rtol=1e-6)
    np.testing.assert_allclose(nine, 9 * steps[1], rtol=1e-6)


def test_between_two_snapshots_the_motion_is_straight():
    path = trajectory([0.95, 0.8], snapshots=20)
    two, between, three = law_of_motion(gram_of(path), rank=2).coefficients([2, 2.25, 3]).T
    np.testing.assert_allclose(between, 0.75 * two + 0.25 * three)


def test_growing_modes_are_held_unless_they_may_grow():
    path = trajectory([1.2, 0.5], snapshots=20)
    held = law_of_motion(gram_of(path), rank=2)
    free = law_of_motion(gram_of(path), rank=2, allow_growth=True)
    last = np.linalg.norm(path[-1] - path[-2])
    assert np.linalg.norm(displacement(held, path, [10])) < 10.01 * last
    assert np.linalg.norm(displacement(free, path, [10])) > 20 * last
    assert held.growth(10).max() == pytest.approx(1.2**10, rel=1e-6)


@pytest.mark.parametrize("observable", OBSERVABLES)
def test_what_does_not_move_stays(observable):
    still = np.ones((10, 7))
    law = law_of_motion(gram_of(still), observable)
    np.testing.assert_array_equal(displacement(law, still, [3]), 0.0)


def test_the_untruncated_operator_is_the_one_of_the_paper():
    """U = F' pinv(F), weights T steps later = U^T w: Dogra and Redman (2020)."""
    path = trajectory([0.95, 0.8, 0.6], size=6, snapshots=30)
    rows = path.T
    U = rows[:, 1:] @ np.linalg.pinv(rows[:, :-1])
    true = np.linalg.matrix_power(U, 7) @ rows[:, -1] - rows[:, -1]
    law = law_of_motion(gram_of(path), "weights", rank=-1)
    np.testing.assert_allclose(displacement(law, path, [7])[0], true, atol=1e-4)


def test_too_few_snapshots_are_refused():
    with pytest.raises(KoopscopeError, match="2 snapshots are too few"):
        law_of_motion(gram_of(np.eye(2)))


@given(seed=st.integers(0, 50), scale=st.floats(1e-6, 1e6), delay=st.integers(1, 3))
def test_a_forecast_knows_no_unit_and_no_origin(seed, scale, delay):
    rng = np.random.default_rng(seed)
    path = rng.standard_normal((14, 40)).cumsum(axis=0)
    one = displacement(law_of_motion(gram_of(path), delay=delay), path, [4])
    other = displacement(law_of_motion(gram_of(scale * path + 3.0), delay=delay), scale * path, [4])
    np.testing.assert_allclose(other, scale * one, rtol=1e-5, atol=1e-5 * scale * np.abs(one).max())


@pytest.mark.parametrize("observable", ["increments", "weights"])
def test_laws_fitted_together_are_those_fitted_one_by_one(observable):
    rng = np.random.default_rng(4)
    runs = [rng.standard_normal((14, size)).cumsum(axis=0) for size in (40, 3, 40, 2, 9)]
    runs.append(np.zeros((14, 5)))  # nothing moves: no mode at all
    runs.append(np.arange(14.0)[:, None] * np.ones(4))  # a steady drift: one
    grams = [gram_of(run) for run in runs]
    horizons = np.array([1.0, 2.5, 7.0])
    seen = []
    for indices, laws in laws_of_motion(grams, observable, damping=0.03):
        together = laws.coefficients(horizons)
        for index, coefficients in zip(indices, together, strict=True):
            alone = law_of_motion(grams[index], observable, damping=0.03).coefficients(horizons)
            np.testing.assert_allclose(coefficients, alone, atol=1e-9 * (1.0 + abs(alone).max()))
            seen.append(index)
    assert sorted(seen) == list(range(len(grams)))


def test_states_are_expanded_in_eigenvectors_that_are_the_same():
    vectors = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]]], complex)
    states = np.array([[2.0, 0.0], [3.0, 1.0]], complex)
    found = _expanded(vectors, states)
    np.testing.assert_allclose(found, [[1.0, 1.0], [2.0, 1.0]], atol=1e-12)
