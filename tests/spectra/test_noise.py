import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.sobolev import symbol
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.noise import filter_matrix, filtered, lost_snapshots, sobolev_kernel
from tests.known_systems import distance, trajectory


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_filtering_inner_products_is_filtering_snapshots(seed, width):
    rng = np.random.default_rng(seed)
    snapshots, kernel = rng.standard_normal((12, 5)), rng.standard_normal(width)
    kernel /= kernel.sum() if abs(kernel.sum()) > 0.1 else 1.0
    kernel[-1] += 1.0 - kernel.sum()
    direct = gram_of(filter_matrix(kernel, 12) @ snapshots)
    indirect = filtered(gram_of(snapshots), kernel)
    assert indirect.increments == pytest.approx(direct.increments, abs=1e-9)
    assert indirect.anchor_increments == pytest.approx(direct.anchor_increments, abs=1e-9)
    assert indirect.anchor_square == pytest.approx(direct.anchor_square, abs=1e-9)
    assert indirect.snapshots == direct.snapshots


def test_the_kernel_weighs_frequencies_as_the_negative_sobolev_norm_does():
    kernel = sobolev_kernel(length=3.0, reach=60)
    count = 512
    circular = np.roll(np.pad(kernel, (0, count - len(kernel))), -60)
    response = np.abs(np.fft.rfft(circular)) ** 2
    wanted = symbol((count,), 2.0, count / 3.0)  # one unit of length is 3 snapshots
    low = slice(0, count // 16)  # sampling the Green's function folds high frequencies
    assert response[low] == pytest.approx(wanted[low], rel=0.05)
    assert np.all(np.diff(response) < 0)


def test_without_noise_no_eigenvalue_moves():
    eigenvalues = [0.97, 0.9, 0.9 * np.exp(0.4j), 0.9 * np.exp(-0.4j)]
    gram = gram_of(trajectory(eigenvalues, snapshots=50))
    spectrum = dmd(filtered(gram, sobolev_kernel()), "increments", rank=4)
    assert distance(spectrum.eigenvalues, eigenvalues) < 1e-7


def test_noise_on_increments_is_rejected_by_an_order_of_magnitude():
    eigenvalues = [0.98, 0.95 * np.exp(0.3j), 0.95 * np.exp(-0.3j)]
    errors = []
    for seed in range(5):
        noise = np.random.default_rng(seed).standard_normal((80, 3000))
        gram = gram_of(trajectory(eigenvalues, snapshots=80, seed=seed) + 0.1 * noise)
        plain = dmd(gram, "increments", rank=3)
        smooth = dmd(filtered(gram, sobolev_kernel()), "increments", rank=3)
        errors.append([distance(s.eigenvalues, eigenvalues) for s in (plain, smooth)])
    before, after = np.median(errors, axis=0)
    assert after < before / 10


def test_too_short_a_run_is_refused():
    gram = gram_of(trajectory(snapshots=lost_snapshots("sobolev")))
    with pytest.raises(KoopscopeError, match="16 finite snapshots are too few"):
        filtered(gram, sobolev_kernel())
