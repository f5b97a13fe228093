"""The closed form of geometric series against the terms added up one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.still_to_come import (
    DRIFT_GAP,
    SLOWEST,
    bounded,
    geometric_sum,
    limit_of_modes,
)

magnitudes = st.floats(0.0, 0.99)
angles = st.floats(-np.pi, np.pi)


@given(magnitudes, angles, st.integers(0, 40))
def test_so_many_terms_are_summed(magnitude, angle, terms):
    value = magnitude * np.exp(1j * angle)
    one_by_one = 3.0 * sum(value**k for k in range(terms))
    found = geometric_sum(np.array([3.0 + 0j]), np.array([value]), np.array([float(terms)]))
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(one_by_one, abs=1e-12)


@given(magnitudes, angles)
def test_without_a_number_of_terms_it_is_the_limit(magnitude, angle):
    value = magnitude * np.exp(1j * angle)
    first = np.array([2.0 - 1.0j])
    long = geometric_sum(first, np.array([value]), np.array([1e5]))[0, 0]
    assert geometric_sum(first, np.array([value]))[0] == pytest.approx(long, rel=1e-12)


def test_a_drift_adds_one_each_time_and_has_no_limit():
    drift = np.array([1.0 + 0j])
    assert geometric_sum(drift, drift, np.array([7.0]))[0, 0] == 7.0
    assert geometric_sum(drift, drift)[0] == 1.0 / DRIFT_GAP


@given(st.floats(0.0, 3.0), angles)
def test_bounding_turns_no_eigenvalue_and_keeps_the_fast_ones(magnitude, angle):
    value = magnitude * np.exp(1j * angle)
    found = complex(bounded(np.array([value]))[0])
    assert abs(found) == pytest.approx(min(abs(value), SLOWEST), abs=1e-14)
    assert (found * np.conj(value)).imag == pytest.approx(0.0, abs=1e-12)


def test_the_modes_of_a_known_decay_end_where_it_ends():
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((60, 2)))[0]
    path = (np.array([0.9, 0.6])[:, None] ** np.arange(12)).T @ vectors.T
    spectrum = dmd(gram_of(path), "increments", rank=2)
    ahead = spectrum.projected_coefficients() @ limit_of_modes(spectrum)
    moved = np.diff(path, axis=0)[: spectrum.pairs].T @ ahead
    np.testing.assert_allclose(path[-1] + moved, 0.0, atol=1e-9)
