"""Intervals cover what they say they cover, are the same every time, and shrink with the noise."""

import numpy as np
import pytest

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.uncertainty import uncertainty

ROTATING = np.array([[0.9, 0.0, 0.0], [0.0, 0.6, -0.4], [0.0, 0.4, 0.6]])


def driven(noise: float, seed: int, snapshots: int = 80, start: float = 0.0) -> np.ndarray:
    """(T, N) snapshots whose increments obey y' = A y + noise, in 3 of 40 dimensions."""
    rng = np.random.default_rng(seed)
    state = np.full(3, start) if start else rng.standard_normal(3)
    increments = []
    for _ in range(snapshots - 1):
        increments.append(state)
        state = ROTATING @ state + noise * rng.standard_normal(3)
    embedding = np.linalg.qr(np.random.default_rng(7).standard_normal((40, 3)))[0]
    return np.vstack([np.zeros(40), np.cumsum(increments, axis=0) @ embedding.T])


def test_intervals_hold_the_true_magnitude_about_as_often_as_they_say():
    """Nine in ten by construction; docs/evidence/numerics.md has the table of the full study."""
    true = np.abs(np.linalg.eigvals(ROTATING))
    held = []
    for seed in range(120):
        spectrum = dmd(gram_of(driven(1.0, seed)), rank=3)
        known = uncertainty(spectrum, replicates=100)
        nearest = np.abs(spectrum.magnitudes - true[:, None]).argmin(axis=1)
        low, high = known.magnitude_low[nearest], known.magnitude_high[nearest]
        held.append((low <= true) & (true <= high))
    assert 0.85 <= np.mean(held) <= 0.97


def test_the_same_spectrum_has_the_same_intervals():
    spectrum = dmd(gram_of(driven(1.0, 0)), rank=3)
    first, second = uncertainty(spectrum), uncertainty(spectrum)
    np.testing.assert_array_equal(first.magnitude_high, second.magnitude_high)
    np.testing.assert_array_equal(first.covariance, second.covariance)


def test_intervals_shrink_with_the_noise():
    widths = []
    for noise in (1e-1, 1e-3):
        known = uncertainty(dmd(gram_of(driven(noise, 3, snapshots=20, start=1.0)), rank=3))
        widths.append(known.magnitude_high - known.magnitude_low)
    assert (widths[1] < 0.1 * widths[0]).all()


def test_a_noise_free_system_has_no_uncertainty():
    known = uncertainty(dmd(gram_of(driven(0.0, 0, snapshots=20, start=1.0)), rank=3))
    assert (known.magnitude_high - known.magnitude_low).max() <= 1e-6


def test_the_ellipse_of_a_real_eigenvalue_is_flat():
    spectrum = dmd(gram_of(driven(0.05, 3, start=3.0)), rank=3)
    real = int(np.flatnonzero(spectrum.eigenvalues.imag == 0.0)[0])
    known = uncertainty(spectrum)
    assert known.covariance[real, 0, 0] > 0.0
    assert known.covariance[real, 1, 1] <= 0.1 * known.covariance[real, 0, 0]


@pytest.mark.parametrize("snapshots", [3, 5])
def test_too_few_pairs_give_no_interval(snapshots):
    spectrum = dmd(gram_of(driven(1.0, 0, snapshots=snapshots)), rank=3)
    known = uncertainty(spectrum)
    assert np.isnan(known.magnitude_low).all()
    assert known.magnitude_low.shape == (spectrum.rank,)
    assert known.replicates == 0


def test_weights_that_never_move_have_none_either():
    assert uncertainty(dmd(gram_of(np.ones((6, 4))))).covariance.shape == (0, 2, 2)


def test_a_single_move_gives_an_interval_although_most_replicates_miss_it():
    snapshots = np.outer(np.arange(40) >= 7, np.ones(30)) + 1.0
    known = uncertainty(dmd(gram_of(snapshots), rank=1))
    assert np.isfinite(known.magnitude_high).all()
    assert np.isfinite(known.covariance).all()
