"""Eigenvalues are matched one to one, as an optimal assignment would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from koopscope.spectra.matching import matched, matching


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(0.0, 0.3))
def test_a_shuffled_and_shaken_spectrum_is_put_back_in_order(seed, rank, noise):
    rng = np.random.default_rng(seed)
    angles = 2.0 * np.pi * (np.arange(rank) + 0.1) / rank
    reference = np.exp(1j * angles)
    gap = np.abs(reference - np.roll(reference, 1)).min() if rank > 1 else 1.0
    shaken = reference + noise * gap * np.exp(2j * np.pi * rng.random((5, rank)))
    shuffled = np.array([row[rng.permutation(rank)] for row in shaken])
    np.testing.assert_array_equal(matched(shuffled, reference), shaken)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_every_candidate_is_used_once_and_no_swap_would_help(seed, rank):
    rng = np.random.default_rng(seed)
    candidates = rng.standard_normal((20, rank)) + 1j * rng.standard_normal((20, rank))
    reference = rng.standard_normal(rank) + 1j * rng.standard_normal(rank)
    for row, taken in zip(candidates, matching(candidates, reference), strict=True):
        assert sorted(taken) == list(range(rank))
        distances = np.abs(row[:, None] - reference)
        found = distances[taken, np.arange(rank)].sum()
        best = distances[linear_sum_assignment(distances)].sum()
        assert best - 1e-12 <= found <= 1.5 * best + 1e-12
