"""Complex snapshots: Hermitian inner products, and everything that rests on them."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.spectra.accumulating import GramAccumulator, gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.geometry import Geometry
from koopscope.spectra.gram_joins import extended
from koopscope.spectra.heldout import forecast_errors, held_out, held_out_rank
from koopscope.spectra.law_of_motion import law_of_motion
from koopscope.spectra.measured import MeasuredGram, SparseProjection, compression_errors
from koopscope.spectra.modes import modes
from koopscope.spectra.noise import filtered, sobolev_kernel
from koopscope.spectra.reduction import reduce
from koopscope.spectra.remainder import remainder
from koopscope.spectra.series import Series
from koopscope.spectra.uncertainty import uncertainty

#: No conjugate pairs.
VALUES = np.array([0.97 * np.exp(0.3j), 0.85 * np.exp(-1.2j), 0.6j])


def snapshots(values=VALUES, *, size=400, count=24, noise=0.0, seed=0):
    """Return (T, N): a constant and one direction per eigenvalue."""
    rng = np.random.default_rng(seed)
    modes = rng.standard_normal((2, len(values), size))
    moving = np.asarray(values) ** np.arange(count)[:, None] @ (modes[0] + 1j * modes[1])
    constant = rng.standard_normal((2, size))
    drawn = rng.standard_normal((2, count, size))
    return constant[0] + 1j * constant[1] + moving + noise * (drawn[0] + 1j * drawn[1])


def found_in(spectrum, values=VALUES):
    return max(np.abs(spectrum.eigenvalues - value).min() for value in values)


@pytest.fixture(name="W", scope="module")
def some_snapshots():
    return snapshots(noise=0.1)


def test_inner_products_are_those_of_the_snapshots(W):
    gram = gram_of(W)
    D = np.diff(W, axis=0)
    np.testing.assert_allclose(gram.increments, D.conj() @ D.T, rtol=1e-10)
    np.testing.assert_allclose(gram.anchor_increments, W[0].conj() @ D.T, rtol=1e-9)
    assert gram.anchor_square == pytest.approx(np.linalg.norm(W[0]) ** 2)
    np.testing.assert_allclose(gram.raw(), W.conj() @ W.T, rtol=1e-9)
    moved = W - W[0]
    np.testing.assert_allclose(gram.anchored(), moved.conj() @ moved.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gram.speeds(), np.linalg.norm(D, axis=1))
    assert gram.displacement() == pytest.approx(np.linalg.norm(W[-1] - W[0]))


@pytest.mark.parametrize("delay", [1, 3])
@pytest.mark.parametrize("observable", ["increments", "weights", "centered"])
def test_windows_and_delays_are_those_of_the_snapshots(W, observable, delay):
    part = W[5:19]
    found = gram_of(W).window(5, 19)
    np.testing.assert_allclose(found.raw(), part.conj() @ part.T, rtol=1e-9)
    expected = gram_of(part).observable(observable, delay)
    np.testing.assert_allclose(found.observable(observable, delay), expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(expected, expected.conj().T)
    if observable == "increments":
        D = np.diff(part, axis=0)
        stacked = np.hstack([D[lag : len(D) - delay + 1 + lag] for lag in range(delay)])
        np.testing.assert_allclose(expected, stacked.conj() @ stacked.T, rtol=1e-9)


def test_blocks_parts_and_precisions_add_up(W):
    whole_gram, joined = gram_of(W), GramAccumulator(len(W))
    joined.add(W[:, :150])
    joined.add(W[:, 150:].real)  # some tensors are real
    other = GramAccumulator(len(W))
    other.add(W[:, 150:].imag)
    joined.absorb(gram_of(W[:, :3]))
    expected = gram_of(W[:, :150]) + gram_of(W[:, 150:].real) + gram_of(W[:, :3])
    np.testing.assert_allclose(joined.result().increments, expected.increments, rtol=1e-10)
    single = GramAccumulator(len(W), "single")
    single.add(W.astype(np.complex64))
    scale = np.abs(whole_gram.increments).max()
    np.testing.assert_allclose(single.result().increments, whole_gram.increments, atol=1e-5 * scale)


def test_a_longer_run_extends_what_was_known(W):
    known = gram_of(W[:20])
    rest = GramAccumulator(len(W), since=18)
    rest.add(W)
    np.testing.assert_allclose(
        extended(known, rest.result(), 1e-9).increments, gram_of(W).increments, rtol=1e-9
    )


@pytest.mark.parametrize("bad", [np.nan, 1j * np.nan, np.inf, 1e200j])
def test_a_value_that_is_not_finite_spoils_its_snapshot_alone(W, bad):
    broken = W.copy()
    broken[7, 3] = bad
    gram = gram_of(broken)
    assert gram.nonfinite.tolist() == [int(t == 7) for t in range(len(W))]
    np.testing.assert_allclose(gram.window(8, 24).increments, gram_of(W[8:]).increments, rtol=1e-9)


def test_symmetric_units_are_told_by_both_parts(W):
    twice = np.concatenate([W[:, :50], W[:, :50], W[:, 50:60].real + 0j], axis=1)
    assert gram_of(twice).changes.twins == 100
    conjugates = np.concatenate([W[:, :50], W[:, :50].conj()], axis=1)
    assert gram_of(conjugates).changes.twins == 0


@given(st.integers(0, 2**32 - 1))
def test_a_phase_per_weight_changes_nothing_and_a_real_view_gives_the_real_part(seed):
    rng = np.random.default_rng(seed)
    W = snapshots(size=20, noise=0.1, seed=seed, count=9)
    gram = gram_of(W)
    turned = gram_of(W * np.exp(1j * rng.uniform(0, 6, 20)))
    np.testing.assert_allclose(turned.increments, gram.increments, rtol=1e-8, atol=1e-8)
    pairs = gram_of(W.view(np.float64))
    np.testing.assert_allclose(pairs.increments, gram.increments.real, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(Geometry(gram).anchored, gram.anchored().real)


@pytest.mark.parametrize("observable", ["increments", "weights"])
def test_eigenvalues_that_were_put_in_are_found(observable):
    W = snapshots()
    spectrum = dmd(gram_of(W), observable)
    assert spectrum.rank == 3 + (observable == "weights")
    assert found_in(spectrum) <= 1e-7
    assert spectrum.residuals.max() <= 1e-6


def test_real_numbers_stored_as_complex_have_the_real_spectrum():
    W = snapshots([0.9, 0.5], noise=0.05).real
    one, two = dmd(gram_of(W), rank=2), dmd(gram_of(W.astype(complex)), rank=2)
    np.testing.assert_allclose(np.sort(two.magnitudes), np.sort(one.magnitudes), rtol=1e-7)
    np.testing.assert_allclose(np.sort(two.residuals), np.sort(one.residuals), rtol=1e-6)
    a, b = uncertainty(one), uncertainty(two)
    np.testing.assert_allclose(np.sort(a.magnitude_high), np.sort(b.magnitude_high), rtol=1e-5)
    np.testing.assert_allclose(remainder(one).high, remainder(two).high, rtol=1e-5)


@dataclass(frozen=True)
class OneBlock:
    tensor: str
    start: int
    values: np.ndarray


@pytest.mark.parametrize("kind", ["exact", "projected"])
def test_residuals_and_modes_are_those_of_the_matrices(W, kind):
    """Against the textbook's formulas on the columns themselves, scaled to unit norm."""
    spectrum = dmd(gram_of(W), rank=5)
    D = np.diff(W, axis=0).T
    X, Y = D[:, :-1] / spectrum.scales, D[:, 1:] / spectrum.scales
    U, S, Vh = np.linalg.svd(X, full_matrices=False)
    K = U[:, :5].conj().T @ Y @ Vh[:5].conj().T / S[:5]
    values, Q = np.linalg.eig(K)
    np.testing.assert_allclose(spectrum.singular_values, S, rtol=1e-7)
    (block,) = modes(spectrum, [OneBlock("w", 0, W)], slice(None), kind=kind)
    for j, value in enumerate(spectrum.eigenvalues):
        twin = int(np.abs(values - value).argmin())
        assert abs(values[twin] - value) <= 1e-9
        z = Vh[:5].conj().T / S[:5] @ Q[:, twin]
        assert spectrum.residuals[j] == pytest.approx(
            np.linalg.norm(Y @ z - value * X @ z) / np.linalg.norm(X @ z), rel=1e-6
        )
        mode = Y @ z / value if kind == "exact" else X @ z
        alike = np.vdot(mode, block.values[:, j])
        assert abs(alike) == pytest.approx(np.linalg.norm(mode) ** 2, rel=1e-8)
        assert np.linalg.norm(block.values[:, j]) == pytest.approx(np.linalg.norm(mode), rel=1e-8)
    first = block.values @ spectrum.coordinates
    if kind == "projected":
        np.testing.assert_allclose(first, U[:, :5] @ (U[:, :5].conj().T @ D[:, 0]), atol=1e-8)


def test_held_out_errors_are_those_of_predicted_snapshots(W):
    """Against predictions made in the space of the weights themselves."""
    Y = np.diff(W, axis=0).T
    fitted, horizon, rank = 14, 5, 3
    reduction = reduce(Series.of(gram_of(W), "increments"), fitted)
    (error,) = forecast_errors(reduction, horizon, [reduction.operator(rank)])
    scales = np.linalg.norm(Y[:, :fitted], axis=0)
    X, ahead = Y[:, :fitted] / scales, Y[:, 1 : fitted + 1] / scales
    U, S, Vh = np.linalg.svd(X, full_matrices=False)
    U = U[:, :rank]
    K = U.conj().T @ ahead @ Vh[:rank].conj().T / S[:rank]
    state, moved = U.conj().T @ Y[:, fitted], np.zeros(len(Y), complex)
    for _ in range(horizon):
        state = K @ state
        moved = moved + U @ state
    truth = W[fitted + 1 + horizon] - W[fitted + 1]
    assert error == pytest.approx(np.linalg.norm(moved - truth) / np.linalg.norm(truth), rel=1e-7)


def test_held_out_snapshots_judge_eigenvalues_and_choose_a_rank():
    series = Series.of(gram_of(snapshots()), "increments")
    judged = held_out(series, dmd(gram_of(snapshots()), rank=3).eigenvalues)
    assert judged.error <= 1e-6
    assert judged.residuals.max() <= 1e-6
    # Process noise: one direction has a law, the others are drawn anew at each step.
    rng = np.random.default_rng(0)
    state, drawn = 3.0 + 0j, []
    for _ in range(40):
        state = 0.97 * np.exp(0.3j) * state
        drawn.append(np.append(state, 0.1 * rng.standard_normal(60).view(complex)))
    W = np.cumsum(drawn, axis=0)
    assert held_out_rank(Series.of(gram_of(W), "increments")) <= 3


def test_intervals_close_on_exact_data_and_hold_the_truth_of_noisy_ones():
    exact = uncertainty(dmd(gram_of(snapshots()), rank=3))
    assert (exact.magnitude_high - exact.magnitude_low).max() <= 1e-6
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        state, series = np.zeros(50, complex), [np.zeros(50, complex)]
        for _ in range(80):  # process noise, as training has it
            state = 0.8 * np.exp(0.5j) * state
            state[0] += rng.standard_normal() + 1j * rng.standard_normal()
            series.append(series[-1] + state)
        spectrum = dmd(gram_of(np.array(series)), rank=1)
        interval = uncertainty(spectrum)
        held += interval.magnitude_low[0] <= 0.8 <= interval.magnitude_high[0]
    assert held >= 30  # of 40 at a nominal 0.9; fewer happen once in 500 times


def test_a_law_goes_on_where_it_was_put_to_go():
    W = snapshots(count=30)
    law = law_of_motion(gram_of(W[:20]), "increments", rank=3)
    coefficients = np.array([law.start * law._factors(np.array([9.0]))[:, 0]]) @ law.directions.T
    ahead = W[19] + coefficients[0] @ np.diff(W[:20], axis=0)
    np.testing.assert_allclose(ahead, W[28], atol=1e-6 * np.abs(W).max())


def test_a_filter_along_time_acts_on_the_snapshots(W):
    kernel = sobolev_kernel(2.0, 3)
    smooth = np.array([kernel @ W[t : t + 7] for t in range(len(W) - 6)])
    found, expected = filtered(gram_of(W), kernel), gram_of(smooth)
    np.testing.assert_allclose(found.increments, expected.increments, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.anchor_increments, expected.anchor_increments, rtol=1e-7)
    assert found.anchor_square == pytest.approx(expected.anchor_square)


def test_the_rest_of_the_way_is_what_the_modes_sum_to():
    W = snapshots(VALUES[1:])
    spectrum = dmd(gram_of(W), rank=2)
    end = snapshots(VALUES[1:], count=400)[-1]
    np.testing.assert_allclose(remainder(spectrum).distance, np.linalg.norm(end - W[-1]), rtol=1e-6)


def test_measurements_estimate_hermitian_products(W):
    folded = SparseProjection(len(W), 4096, np.random.default_rng(0))
    folded.add(W[:, :100])
    folded.add(W[:, 100:])
    measured = MeasuredGram(tuple(folded.result()))
    # 400 weights on 4096 rows of their own: nothing collides, and the mean is the matrix itself.
    np.testing.assert_allclose(measured.gram.increments, gram_of(W).increments, rtol=1e-9)
    spectrum = dmd(measured.gram, rank=3)
    assert (compression_errors(measured, spectrum) > 0.0).all()
    assert (compression_errors(MeasuredGram.of_all_weights(gram_of(W)), spectrum) == 0.0).all()
