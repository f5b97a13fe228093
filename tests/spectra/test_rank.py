"""Truncation rules mean what PyDMD's ``svd_rank`` means, for every kind of number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.spectra.rank import check_rank_rule, numerical_rank, truncation_rank
from tests.frameworks import framework


def noisy_matrix(seed: int, rank: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((80, rank)) @ rng.standard_normal((rank, 20))
    return signal + 0.1 * rng.standard_normal((80, 20))


@given(
    st.integers(0, 2**32 - 1),
    st.one_of(st.just(0), st.just(-1), st.integers(1, 30), st.floats(0.3, 0.999)),
)
def test_every_rule_keeps_what_pydmd_keeps(seed, rule):
    compute_rank = framework("pydmd.utils").compute_rank
    matrix = noisy_matrix(seed)
    singular_values = np.linalg.svd(matrix, compute_uv=False)
    assert truncation_rank(singular_values, rule, 20 / 80) == compute_rank(matrix, rule)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16, int])
def test_numpy_integers_are_integers(kind):
    assert truncation_rank(np.linspace(2, 1, 20), kind(8)) == 8


@pytest.mark.parametrize("kind", [np.float32, np.float64, float])
def test_numpy_floats_are_energies(kind):
    assert truncation_rank(np.array([3.0, 1.0, 0.1]), kind(0.95)) == 2


@pytest.mark.parametrize("rule", [True, 8.0, 1.0, 0.0, -2, -0.5, 1.5, float("nan"), "10", None])
def test_anything_else_is_refused_rather_than_guessed_at(rule):
    with pytest.raises(KoopscopeError, match="is not a truncation rule"):
        check_rank_rule(rule)


def test_directions_below_what_a_squared_matrix_resolves_are_never_kept():
    values = np.array([1.0, 1e-3, 1e-9, 0.0])
    assert numerical_rank(values) == 2
    assert truncation_rank(values, -1) == truncation_rank(values, 4) == 2


def test_nothing_moving_keeps_nothing_and_anything_moving_keeps_one():
    assert truncation_rank(np.zeros(3), 0) == truncation_rank(np.zeros(0), -1) == 0
    assert truncation_rank(np.ones(5), 0) == 1
