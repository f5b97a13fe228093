"""Causal statistics of trajectories whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.geometry import Geometry, course


def geometry(snapshots):
    return Geometry(gram_of(np.asarray(snapshots, float)))


def test_a_straight_drift_is_direct_even_and_steady():
    path = np.array([1.0, 0.0]) + np.outer(np.arange(41.0), [3.0, 4.0])
    last = {name: values[-1] for name, values in course(geometry(path)).items()}
    for name in ("directness", "directness_all", "recent_directness", "turn", "cosine"):
        assert last[name] == pytest.approx(1.0)
    assert last["recent_share"] == pytest.approx(0.25)
    assert last["half_share"] == pytest.approx(0.5)
    assert last["speed"] == pytest.approx(0.0, abs=1e-9)
    assert last["speed_trend"] == pytest.approx(0.0, abs=1e-9)
    assert last["spread"] == pytest.approx(1.0 / 16.0)
    assert last["travel"] == pytest.approx(np.log(200.0))


def test_noise_about_a_point_has_a_cosine_of_minus_one_half():
    path = np.random.default_rng(0).standard_normal((60, 4000))
    last = {name: values[-1] for name, values in course(geometry(path)).items()}
    assert last["cosine"] == pytest.approx(-0.5, abs=0.03)
    assert last["cosine_far"] == pytest.approx(0.0, abs=0.03)
    assert last["directness"] < 0.1


def test_distances_are_those_of_the_snapshots():
    path = np.random.default_rng(1).standard_normal((20, 7)).cumsum(axis=0)
    s, t = np.array([0, 3, 5]), np.array([19, 4, 5])
    expected = np.linalg.norm(path[t] - path[s], axis=1)
    assert geometry(path).distance(s, t) == pytest.approx(expected, abs=1e-7)
    assert geometry(path).norms == pytest.approx(np.linalg.norm(path, axis=1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(10, 39))
def test_statistics_at_a_snapshot_do_not_know_what_comes_after(seed, stop):
    path = np.random.default_rng(seed).standard_normal((40, 5)).cumsum(axis=0)
    whole, cut = course(geometry(path)), course(geometry(path[:stop]))
    for name, values in cut.items():
        assert whole[name][:stop] == pytest.approx(values, abs=1e-6), name


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_statistics_do_not_depend_on_the_unit(seed, factor):
    path = np.random.default_rng(seed).standard_normal((30, 5)).cumsum(axis=0)
    ours, scaled = course(geometry(path)), course(geometry(path * factor))
    for name, values in ours.items():
        assert scaled[name] == pytest.approx(values, abs=1e-6), name


def test_a_drift_covers_twice_as_much_each_time_the_run_doubles():
    drift = course(geometry(np.outer(np.arange(41.0), [1.0, 2.0])))
    assert drift["doubling"][-1] == pytest.approx(np.log(2.0))
    assert drift["doubling_turn"][-1] == pytest.approx(1.0)
    assert drift["diffusion"][-1] == pytest.approx(np.log(2.0))
    assert drift["path_half"][-1] == pytest.approx(0.5)
    assert drift["path_quarter"][-1] == pytest.approx(0.25)


def test_a_way_that_comes_to_rest_covers_less_each_time_the_run_doubles():
    rest = course(geometry(np.outer(0.9 ** np.arange(41.0), [1.0, 2.0])))
    covered = (0.9**20 - 0.9**40) / (0.9**10 - 0.9**20)
    assert rest["doubling"][-1] == pytest.approx(np.log(covered))
    assert rest["outward"][-1] == pytest.approx(-1.0)
    assert rest["path_half"][-1] < 0.15
