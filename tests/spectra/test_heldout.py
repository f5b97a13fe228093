"""Held-out snapshots tell how many directions are real, and how far predictions can be trusted."""

import numpy as np
import pytest

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.heldout import forecast_errors, held_out, held_out_rank
from koopscope.spectra.reduction import reduce
from koopscope.spectra.series import Series
from tests.known_systems import EIGENVALUES, trajectory


@pytest.mark.parametrize("observable", ["increments", "weights", "centered", "raw"])
def test_the_rank_that_was_put_in_is_found_in_clean_data(observable):
    series = Series.of(gram_of(trajectory()), observable)
    constant = observable != "increments"
    assert held_out_rank(series) == len(EIGENVALUES) + constant


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_taken_for_directions(seed):
    walk = np.random.default_rng(seed).standard_normal((60, 500)).cumsum(axis=0)
    assert held_out_rank(Series.of(gram_of(walk), "increments")) <= 3


@pytest.mark.parametrize("observable", ["increments", "weights", "raw"])
def test_the_error_of_a_forecast_is_that_of_the_forecast_itself(observable):
    """The Gram matrix alone gives the distance that the full vectors give."""
    rng = np.random.default_rng(1)
    snapshots = trajectory([0.95, 0.7], snapshots=20, size=300)
    snapshots += 0.05 * rng.standard_normal(snapshots.shape)
    reduction = reduce(Series.of(gram_of(snapshots), observable), 12)
    found = forecast_errors(reduction, 5, [reduction.operator(3)])[0]

    if observable == "increments":
        values = np.diff(snapshots, axis=0).T
    else:
        values = (snapshots - (snapshots[0] if observable == "weights" else 0.0)).T
    U = values[:, :12] @ reduction.basis(3)
    states = [reduction.coordinates(3)[:, 12]]
    for _ in range(5):
        states.append(reduction.operator(3) @ states[-1])
    if observable == "increments":
        predicted, true = U @ sum(states[1:]), values[:, 13:18].sum(axis=1)
    else:
        predicted, true = U @ (states[-1] - states[0]), values[:, 17] - values[:, 12]
    error = np.linalg.norm(predicted - true) / np.linalg.norm(true)
    assert found == pytest.approx(error, rel=1e-6)


def test_a_known_system_predicts_the_rest_of_its_window():
    series = Series.of(gram_of(trajectory()), "increments")
    judged = held_out(series, dmd(gram_of(trajectory()), rank=6).eigenvalues)
    assert judged.error <= 1e-7
    assert judged.residuals.max() <= 1e-4


def test_a_random_walk_cannot_be_predicted():
    rng = np.random.default_rng(2)
    gram = gram_of(rng.standard_normal((40, 500)).cumsum(axis=0))
    spectrum = dmd(gram, rank=5)
    judged = held_out(Series.of(gram, "increments"), spectrum.eigenvalues)
    assert judged.error > 0.9
    assert np.nanmin(judged.residuals) > 0.5


@pytest.mark.parametrize("snapshots", [3, 4, 5, 6])
def test_few_snapshots_give_a_rank_and_no_error(snapshots):
    spectrum = dmd(gram_of(trajectory(snapshots=snapshots)))
    assert 1 <= spectrum.rank <= snapshots - 2
    judged = held_out(
        Series.of(gram_of(trajectory(snapshots=snapshots)), "increments"), spectrum.eigenvalues
    )
    assert judged.residuals.shape == (spectrum.rank,)


def test_nothing_moving_is_predicted_without_error():
    reduction = reduce(Series.of(gram_of(np.ones((11, 30))), "increments"), 6)
    np.testing.assert_array_equal(forecast_errors(reduction, 3, [np.eye(0)]), 0.0)
