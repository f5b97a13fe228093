"""Eigenvalues put in come out, and every result satisfies the equation that defines it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.modes import observable_values
from tests.frameworks import framework
from tests.known_systems import EIGENVALUES, distance, trajectory

#: observable -> eigenvalues it must show; weights also hold the 1 of their constant part.
EXPECTED = {
    "increments": EIGENVALUES,
    "weights": np.append(EIGENVALUES, 1.0),
    "centered": np.append(EIGENVALUES, 1.0),
    "raw": np.append(EIGENVALUES, 1.0),
}

#: Those whose law has no constant; see test_affine.py for the others.
LINEAR = ("increments", "raw")


def pairs_of(snapshots: np.ndarray, observable: str) -> tuple[np.ndarray, np.ndarray]:
    """X and Y, N x m, formed in full: columns scaled to the unit norm of X's."""
    values = observable_values(snapshots, observable)
    scales = np.linalg.norm(values[:-1], axis=1)
    return values[:-1].T / scales, values[1:].T / scales


@pytest.mark.parametrize("observable", EXPECTED)
@pytest.mark.parametrize("motion", [1e-1, 1e-2, 1e-3, 1e-4])
def test_known_eigenvalues_from_double_precision(observable, motion):
    expected = EXPECTED[observable]
    spectrum = dmd(gram_of(trajectory(motion=motion)), observable, rank=len(expected))
    assert distance(spectrum.eigenvalues, expected) <= 1e-9
    assert distance(expected, spectrum.eigenvalues) <= 1e-9


@pytest.mark.parametrize("observable", EXPECTED)
@pytest.mark.parametrize("motion", [1e-5, 1e-6])
def test_known_eigenvalues_of_the_smallest_motion_from_double_precision(observable, motion):
    spectrum = dmd(gram_of(trajectory(motion=motion)), observable, rank=len(EXPECTED[observable]))
    assert distance(spectrum.eigenvalues, EXPECTED[observable]) <= 1e-15 / motion


@pytest.mark.parametrize("observable", EXPECTED)
@pytest.mark.parametrize("motion", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
def test_known_eigenvalues_to_what_single_precision_stored(observable, motion):
    """Rounding each entry of w by 2^-25 |w| moves an eigenvalue by at most a few times 2^-25/motion
    of what the weakest mode, here a tenth of the strongest, leaves."""
    snapshots = trajectory(motion=motion, dtype=np.float32)
    spectrum = dmd(gram_of(snapshots), observable, rank=len(EXPECTED[observable]))
    assert distance(spectrum.eigenvalues, EXPECTED[observable]) <= 1e-6 / motion


def test_eigenvalues_of_equal_magnitude_are_told_apart():
    on_a_circle = 0.95 * np.exp(1j * np.array([0.0, 0.4, -0.4, 1.5, -1.5, np.pi]))
    on_a_circle = np.where(np.abs(on_a_circle.imag) < 1e-12, on_a_circle.real, on_a_circle)
    spectrum = dmd(gram_of(trajectory(on_a_circle)), rank=6)
    assert distance(spectrum.eigenvalues, on_a_circle) <= 1e-10


def test_a_growing_mode_is_found_and_has_no_half_life():
    spectrum = dmd(gram_of(trajectory([1.05, 0.8])), rank=2)
    assert distance(spectrum.eigenvalues, [1.05, 0.8]) <= 1e-10
    assert spectrum.half_lives_steps[np.argmax(spectrum.magnitudes)] == np.inf


def test_half_lives_and_periods_are_in_optimizer_steps():
    spectrum = dmd(gram_of(trajectory([0.9 * np.exp(0.5j), 0.9 * np.exp(-0.5j)])), rank=2)
    timed = dmd(
        gram_of(trajectory([0.9 * np.exp(0.5j), 0.9 * np.exp(-0.5j)])), rank=2, spacing_steps=50
    )
    assert spectrum.half_lives_steps == pytest.approx(math.log(0.5) / math.log(0.9))
    assert timed.half_lives_steps == pytest.approx(50 * math.log(0.5) / math.log(0.9))
    assert timed.periods_steps == pytest.approx(50 * 2 * math.pi / 0.5)


@pytest.mark.parametrize("observable", LINEAR)
def test_every_result_satisfies_its_defining_equation(observable):
    rng = np.random.default_rng(3)
    snapshots = trajectory(size=400) + 1e-2 * rng.standard_normal((24, 400))
    spectrum = dmd(gram_of(snapshots), observable, rank=6)
    X, Y = pairs_of(snapshots, observable)
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    truncated_inverse = Vt[:6].T / S[:6] @ U[:, :6].T

    np.testing.assert_allclose(spectrum.singular_values, S, rtol=1e-7)
    for j in range(spectrum.rank):
        value, vector = spectrum.eigenvalues[j], spectrum.eigenvectors[:, j]
        assert np.linalg.norm(spectrum.operator @ vector - value * vector) <= 1e-12
        scaled = spectrum.basis[:, :] * spectrum.scales[:, None] @ vector
        exact = Y @ scaled
        error = Y @ (truncated_inverse @ exact) - value * exact
        assert np.linalg.norm(error) <= 1e-9 * np.linalg.norm(exact)
        ritz = X @ scaled
        assert np.linalg.norm(ritz) == pytest.approx(1.0, rel=1e-9)
        full = np.linalg.norm(Y @ scaled - value * ritz)
        assert spectrum.residuals[j] == pytest.approx(full, rel=1e-6, abs=1e-7)
    directions = X @ (spectrum.basis * spectrum.scales[:, None])
    np.testing.assert_allclose(directions.T @ directions, np.eye(6), atol=1e-9)


@pytest.mark.parametrize("observable", LINEAR)
def test_eigenvalues_and_singular_values_agree_with_pydmd(observable):
    pydmd = framework("pydmd")
    rng = np.random.default_rng(5)
    snapshots = trajectory(size=500) + 1e-3 * rng.standard_normal((24, 500))
    spectrum = dmd(gram_of(snapshots), observable, rank=7)
    X, Y = pairs_of(snapshots, observable)
    peer = pydmd.DMD(svd_rank=7, exact=True).fit(X, Y)
    assert distance(spectrum.eigenvalues, peer.eigs) <= 1e-8
    assert distance(peer.eigs, spectrum.eigenvalues) <= 1e-8
    np.testing.assert_allclose(
        spectrum.singular_values, np.linalg.svd(X, compute_uv=False), rtol=1e-8
    )


@given(st.floats(1e-6, 1e6), st.integers(0, 2**32 - 1))
def test_units_change_amplitudes_alone(factor, seed):
    snapshots = trajectory(size=60, seed=seed)
    plain, scaled = dmd(gram_of(snapshots), rank=6), dmd(gram_of(factor * snapshots), rank=6)
    assert distance(scaled.eigenvalues, plain.eigenvalues) <= 1e-7
    assert scaled.amplitudes.sum() == pytest.approx(factor * plain.amplitudes.sum(), rel=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_rotating_weight_space_changes_nothing(seed):
    snapshots = trajectory(size=40, seed=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((40, 40)))[0]
    plain, rotated = dmd(gram_of(snapshots), rank=6), dmd(gram_of(snapshots @ rotation), rank=6)
    assert distance(rotated.eigenvalues, plain.eigenvalues) <= 1e-7
    np.testing.assert_allclose(rotated.singular_values, plain.singular_values, atol=1e-6)


@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=3), st.integers(4, 7), st.integers(0, 99))
def test_conjugate_pairs_are_neighbours_positive_first(angles, rank, seed):
    values = [0.9 * np.exp(sign * 1j * angle) for angle in angles for sign in (1, -1)]
    snapshots = trajectory(values, size=50, snapshots=16, seed=seed)
    snapshots += 0.05 * np.random.default_rng(seed).standard_normal(snapshots.shape)
    spectrum = dmd(gram_of(snapshots), rank=rank)
    j = 0
    while j < spectrum.rank:
        if spectrum.eigenvalues[j].imag == 0.0:
            j += 1
            continue
        assert spectrum.eigenvalues[j].imag > 0.0
        assert spectrum.eigenvalues[j + 1] == np.conj(spectrum.eigenvalues[j])
        assert spectrum.amplitudes[j + 1] == pytest.approx(spectrum.amplitudes[j], rel=1e-6)
        j += 2
    leaders = spectrum.amplitudes[np.r_[True, spectrum.eigenvalues.imag[1:] >= 0.0]]
    assert (np.diff(leaders) <= 1e-9 * leaders[:-1]).all()


def test_amplitudes_are_those_the_trajectory_was_built_with():
    rng = np.random.default_rng(0)
    first, second = np.linalg.qr(rng.standard_normal((200, 2)))[0].T
    t = np.arange(12)[:, None]
    snapshots = 5.0 * 0.9**t * first + 0.2 * 0.5**t * second
    spectrum = dmd(gram_of(snapshots), rank=2)
    np.testing.assert_allclose(spectrum.eigenvalues, [0.9, 0.5], atol=1e-10)
    np.testing.assert_allclose(spectrum.amplitudes, [5.0 * 0.1, 0.2 * 0.5], rtol=1e-8)
    np.testing.assert_allclose(spectrum.shares, [0.5 / 0.6, 0.1 / 0.6], rtol=1e-8)


def test_reduced_trajectory_holds_the_lengths_of_a_trajectory_that_fits_the_rank():
    snapshots = trajectory(size=100)
    spectrum = dmd(gram_of(snapshots), rank=6)
    np.testing.assert_allclose(
        np.linalg.norm(spectrum.trajectory, axis=0),
        np.linalg.norm(np.diff(snapshots, axis=0), axis=1),
        rtol=1e-8,
    )


@pytest.mark.parametrize("observable", ["increments", "weights", "centered"])
def test_weights_that_never_move_have_no_eigenvalue(observable):
    spectrum = dmd(gram_of(np.ones((5, 10))), observable)
    assert spectrum.rank == 0
    assert spectrum.shares.shape == spectrum.half_lives_steps.shape == (0,)


def test_a_pause_in_the_motion_is_no_error():
    snapshots = trajectory([0.9, 0.5], snapshots=10)
    paused = np.repeat(snapshots, [1, 1, 1, 2, 1, 1, 1, 1, 1, 1], axis=0)
    assert np.isfinite(dmd(gram_of(paused)).eigenvalues).all()


def test_stacked_snapshots_show_more_eigenvalues_than_weights():
    """One weight that swings needs two delays: a single value cannot hold a rotation."""
    times = np.arange(40)
    snapshots = (0.98**times * np.cos(0.3 * times))[:, None]
    spectrum = dmd(gram_of(snapshots), delay=2, rank=2)
    assert distance(spectrum.eigenvalues, 0.98 * np.exp([0.3j, -0.3j])) <= 1e-9


def test_too_few_snapshots_are_refused_with_the_number_needed():
    with pytest.raises(KoopscopeError, match="2 snapshots are too few") as caught:
        dmd(gram_of(np.ones((2, 3))))
    assert "at least 3" in str(caught.value.hint)
    with pytest.raises(KoopscopeError, match="with delay 4"):
        dmd(gram_of(np.ones((5, 3))), delay=4)


def test_a_window_with_bad_snapshots_is_refused():
    snapshots = trajectory(size=10, snapshots=6)
    snapshots[4, 2] = np.nan
    with pytest.raises(KoopscopeError, match="snapshot 4 of the window has 1 non-finite"):
        dmd(gram_of(snapshots))


def test_a_vanishing_eigenvalue_has_no_exact_mode():
    spectrum = Spectrum(
        "increments",
        1,
        1.0,
        np.ones(2),
        np.array([0.5, 0.0], complex),
        np.zeros(2),
        np.ones(2, complex),
        np.eye(2, dtype=complex),
        np.diag([0.5, 0.0]),
        np.eye(2),
        np.ones((2, 3)),
        np.ones(2),
    )
    coefficients = spectrum.exact_coefficients()
    np.testing.assert_array_equal(coefficients[:, 0], [2.0, 0.0])
    assert np.isnan(coefficients[:, 1]).all()
