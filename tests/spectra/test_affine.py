"""Spectra of weights by an affine law: 1 is an eigenvalue exactly, its mode the fixed point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.heldout import held_out
from koopscope.spectra.series import Series
from koopscope.spectra.uncertainty import uncertainty
from tests.known_systems import distance, trajectory


def at_rest(size: int = 300) -> np.ndarray:
    """The last 12 of 80 snapshots of a run whose motion has died down to its noise."""
    rng = np.random.default_rng(0)
    limit, slow, fast = rng.standard_normal((3, size))
    t = np.arange(80)[:, None]
    moving = 0.3 * (0.9**t * slow + 0.8**t * fast)
    return (limit + moving + 1e-4 * rng.standard_normal((80, size)))[-12:]


def dense(snapshots: np.ndarray, directions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Affine DMD in full: (eigenvalues of A, singular values, fixed point of w' = A w + c)."""
    X, Y = snapshots[:-1].T, snapshots[1:].T
    x, y = X.mean(axis=1, keepdims=True), Y.mean(axis=1, keepdims=True)
    U, S, Vt = np.linalg.svd(X - x, full_matrices=False)
    lifted = (Y - y) @ Vt[:directions].T / S[:directions]
    A = U[:, :directions].T @ lifted
    # w* = A w* + c with A = lifted U^T and c = y - A x, solved in the span of U.
    inside = np.linalg.solve(np.eye(directions) - A, U[:, :directions].T @ (y - x))
    return np.linalg.eigvals(A), S, (y + lifted @ inside)[:, 0]


def fixed_point(spectrum, snapshots: np.ndarray) -> np.ndarray:
    column = spectrum.exact_coefficients()[:, spectrum.resting]
    return ((column * spectrum.coordinates[spectrum.resting]) @ snapshots[1:]).real


@pytest.mark.parametrize("observable", ["weights", "centered"])
@pytest.mark.parametrize("rank", ["auto", *range(1, 12), 0, 0.5, 0.99, -1])
def test_a_run_at_rest_has_the_eigenvalue_one_at_every_rank(observable, rank):
    spectrum = dmd(gram_of(at_rest()), observable, rank=rank)
    assert np.abs(spectrum.eigenvalues - 1.0).min() <= 1e-12
    assert spectrum.eigenvalues[spectrum.resting] == 1.0
    assert spectrum.has_resting_place
    if isinstance(rank, int) and rank > 0:
        assert spectrum.rank == rank


@pytest.mark.parametrize("rank", [2, 5, 9])
def test_it_is_the_affine_fit_of_the_whole_matrices(rank):
    snapshots = at_rest()
    spectrum = dmd(gram_of(snapshots), "weights", rank=rank)
    values, singular, point = dense(snapshots, rank - 1)
    assert distance(spectrum.moving, values) <= 1e-7
    assert distance(values, spectrum.moving) <= 1e-7
    np.testing.assert_allclose(
        spectrum.singular_values[:10] * spectrum.scales[0], singular[:10], rtol=1e-6
    )
    np.testing.assert_allclose(fixed_point(spectrum, snapshots), point, atol=1e-8)


@pytest.mark.parametrize("motion", [1.0, 1e-3, 1e-6])
def test_the_mode_of_one_is_the_limit_that_was_put_in(motion):
    rng = np.random.default_rng(1)
    limit, slow, fast = rng.standard_normal((3, 200))
    t = np.arange(10)[:, None]
    snapshots = limit + motion * (0.9**t * slow + 0.5**t * fast)
    spectrum = dmd(gram_of(snapshots), "weights", rank=3)
    assert distance(spectrum.moving, [0.9, 0.5]) <= 1e-15 / motion + 1e-9
    np.testing.assert_allclose(
        fixed_point(spectrum, snapshots), limit, atol=1e-6 * motion + 1e-13 / motion
    )
    ahead = np.linalg.norm(limit - snapshots[-1])
    assert spectrum.distance_to_rest == pytest.approx(ahead, rel=1e-4)
    assert spectrum.amplitudes[spectrum.resting] == pytest.approx(
        np.linalg.norm(limit - snapshots[0]), rel=1e-5
    )


def test_a_drift_has_no_resting_place():
    rng = np.random.default_rng(2)
    start, step = rng.standard_normal((2, 100))
    spectrum = dmd(gram_of(start + np.arange(9.0)[:, None] * step), "weights", rank=-1)
    assert not spectrum.has_resting_place
    assert spectrum.distance_to_rest == np.inf
    np.testing.assert_allclose(spectrum.eigenvalues, 1.0, atol=1e-9)


@pytest.mark.parametrize("observable", ["increments", "raw"])
def test_a_law_without_a_constant_has_no_resting_mode(observable):
    spectrum = dmd(gram_of(trajectory()), observable, rank=3)
    assert spectrum.resting is None
    assert not spectrum.has_resting_place


def test_residuals_are_those_of_the_full_vectors():
    snapshots = at_rest()
    spectrum = dmd(gram_of(snapshots), "weights", rank=4)
    values = (snapshots - snapshots[0]).T
    z = spectrum.basis @ spectrum.eigenvectors
    off = values[:, 1:] @ z - spectrum.eigenvalues * (values[:, :-1] @ z)
    lengths = np.linalg.norm(values[:, :-1] @ z, axis=0)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-6)
    np.testing.assert_allclose(spectrum.residuals, np.linalg.norm(off, axis=0), rtol=1e-5)


def test_the_interval_of_the_resting_mode_is_that_of_something_exact():
    spectrum = dmd(gram_of(at_rest()), "weights", rank=3)
    known = uncertainty(spectrum)
    assert known.magnitude_low[spectrum.resting] == known.magnitude_high[spectrum.resting] == 1.0
    others = np.arange(3) != spectrum.resting
    assert (known.magnitude_high - known.magnitude_low)[others].min() > 0.0


def test_held_out_values_judge_the_other_modes_alone():
    series = Series.of(gram_of(trajectory()), "weights")
    spectrum = dmd(gram_of(trajectory()), "weights", rank=7)
    judged = held_out(series, spectrum.eigenvalues)
    assert judged.error <= 1e-6
    assert np.isnan(judged.residuals[spectrum.resting])
    assert np.nanmax(judged.residuals) <= 1e-4


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.integers(1, 9),
    shift=st.floats(-100.0, 100.0),
    scale=st.floats(1e-3, 1e3),
)
def test_neither_shift_nor_unit_changes_the_law(seed, rank, shift, scale):
    snapshots = np.random.default_rng(seed).standard_normal((11, 40)).cumsum(axis=0)
    plain = dmd(gram_of(snapshots), "weights", rank=rank)
    moved = dmd(gram_of(scale * snapshots + shift), "weights", rank=rank)
    assert plain.rank == moved.rank == rank
    assert moved.eigenvalues[moved.resting] == 1.0
    assert distance(moved.moving, plain.moving) <= 1e-6 if rank > 1 else True
    if plain.has_resting_place and plain.distance_to_rest < 1e3 * np.abs(snapshots).max():
        expected = scale * fixed_point(plain, snapshots) + shift
        found = fixed_point(moved, scale * snapshots + shift)
        size = max(np.abs(expected).max(), scale * plain.distance_to_rest, abs(shift))
        np.testing.assert_allclose(found, expected, atol=1e-5 * size)


@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(2, 8))
def test_weights_and_centered_weights_have_the_same_spectrum(seed, rank):
    snapshots = np.random.default_rng(seed).standard_normal((10, 30)).cumsum(axis=0)
    one = dmd(gram_of(snapshots), "weights", rank=rank)
    other = dmd(gram_of(snapshots), "centered", rank=rank)
    assert distance(one.eigenvalues, other.eigenvalues) <= 1e-7


@given(seed=st.integers(0, 2**32 - 1))
def test_stacked_values_obey_an_affine_law_too(seed):
    snapshots = trajectory([0.9, 0.6], size=30, snapshots=14, seed=seed)
    spectrum = dmd(gram_of(snapshots), "weights", rank=3, delay=2)
    assert distance(spectrum.moving, [0.9, 0.6]) <= 1e-7


@pytest.mark.parametrize("motion", [1e-2, 1e-4, 1e-6])
def test_raw_weights_keep_motion_that_their_products_lose(motion):
    """Dense DMD of the snapshots themselves: unit-norm columns, float64 throughout."""
    snapshots = trajectory([0.9, 0.6], size=400, snapshots=14, motion=motion)
    spectrum = dmd(gram_of(snapshots), "raw", rank=3)
    assert distance(spectrum.eigenvalues, [1.0, 0.9, 0.6]) <= 1e-14 / motion
    scales = np.linalg.norm(snapshots[:-1], axis=1)
    np.testing.assert_allclose(spectrum.scales, scales, rtol=1e-9)
    U, S, Vt = np.linalg.svd(snapshots[:-1].T / scales, full_matrices=False)
    np.testing.assert_allclose(spectrum.singular_values[:3], S[:3], rtol=1e-8)
    dense_operator = U[:, :3].T @ (snapshots[1:].T / scales) @ Vt[:3].T / S[:3]
    assert distance(spectrum.eigenvalues, np.linalg.eigvals(dense_operator)) <= 1e-14 / motion


def test_one_number_is_fitted_by_least_squares_and_judged_over_its_pairs():
    """Divided by its own size each pair would weigh the same: a mean of ratios."""
    rng = np.random.default_rng(1)
    x = np.zeros(250)
    for t in range(1, 250):
        x[t] = 0.9 * x[t - 1] + 0.1 * rng.standard_normal()
    d = np.diff(x)
    slope = float(d[1:] @ d[:-1] / (d[:-1] @ d[:-1]))
    spectrum = dmd(gram_of(2.0 + x[:, None]), rank=1)
    assert spectrum.eigenvalues[0].real == pytest.approx(slope, rel=1e-9)
    off = np.linalg.norm(d[1:] - slope * d[:-1]) / np.linalg.norm(d[:-1])
    assert spectrum.residuals[0] == pytest.approx(off, rel=1e-9)


def test_a_residual_that_is_zero_by_construction_is_not_a_number():
    two = np.random.default_rng(3).standard_normal((4, 2)).cumsum(axis=0)
    assert np.isnan(dmd(gram_of(two), rank=2).residuals).all()
    spectrum = dmd(gram_of(np.random.default_rng(3).standard_normal((9, 2))), "weights", rank=3)
    assert np.isnan(spectrum.residuals[spectrum.resting])
    assert np.isfinite(spectrum.residuals).sum() == 2


@pytest.mark.parametrize("seed", range(4))
def test_conjugates_have_mirrored_regions(seed):
    rng = np.random.default_rng(seed)
    snapshots = trajectory([0.9 * np.exp(0.1j), 0.9 * np.exp(-0.1j), 0.7], size=60, seed=seed)
    snapshots = snapshots + 0.2 * rng.standard_normal(snapshots.shape)
    spectrum = dmd(gram_of(snapshots), rank=6)
    known = uncertainty(spectrum)
    upper = np.flatnonzero(spectrum.eigenvalues.imag > 0.0)
    assert len(upper)
    mirror = np.array([[1.0, -1.0], [-1.0, 1.0]])
    np.testing.assert_allclose(
        known.covariance[upper], mirror * known.covariance[upper + 1], rtol=1e-9, atol=1e-15
    )
    np.testing.assert_allclose(known.magnitude_high[upper], known.magnitude_high[upper + 1])
    real = spectrum.eigenvalues.imag == 0.0
    np.testing.assert_allclose(known.covariance[real, 0, 1], 0.0, atol=1e-15)
