import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.iterates.fixed_point import fixed_point
from tests import iterated_maps as maps

FACTORS = [0.5, 0.8, 0.9, 0.95, 0.99, 0.999]

OPERATORS = {
    "symmetric": lambda factor, seed=0: maps.affine(maps.symmetric(factor, seed), seed),
    "positive": lambda factor, seed=0: maps.affine(maps.symmetric(factor, seed, 0.0), seed),
    "non-normal": lambda factor, seed=0: maps.affine(maps.non_normal(factor, seed), seed),
}


def found(operator, start, count, dtype=np.float64):
    iterates = maps.iterate(operator, start, count, dtype)
    return fixed_point(gram_of(iterates), maps.rounding_length(iterates))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("kind", OPERATORS)
def test_a_linear_contraction_is_recovered_within_its_interval(kind, factor):
    for seed in range(3):
        fixed = found(*OPERATORS[kind](factor, seed), 40)
        low, high = fixed.interval
        assert low <= factor <= high
        assert fixed.factor == pytest.approx(factor, abs=0.01)


@pytest.mark.parametrize("count", [15, 40])
def test_intervals_from_few_or_coarse_iterates_hold_the_factor_nine_times_in_ten(count):
    """Not always: a slow mode that the start hardly touches is not in the first iterates."""
    dtype = np.float64 if count == 15 else np.float32
    held = []
    for kind in OPERATORS.values():
        for factor in FACTORS:
            for seed in range(4):
                low, high = found(*kind(factor, seed), count, dtype).interval
                held.append(low <= factor <= high)
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nonlinear_contraction_is_recovered_within_its_interval(factor, dtype):
    fixed = found(*maps.tanh_layer(factor), 40, dtype)
    assert fixed.interval[0] <= factor <= fixed.interval[1]
    assert fixed.factor == pytest.approx(factor, abs=5e-3)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_the_number_of_iterations_is_right_within_a_fifth(kind, factor, tolerance):
    operator, start = OPERATORS[kind](factor)
    true = maps.iterations_to(operator, start, tolerance, limit=40000)
    assert abs(found(operator, start, 40).iterations(tolerance) - true) <= max(1, 0.2 * true)


@pytest.mark.parametrize("factor", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_also_for_a_nonlinear_operator(factor, tolerance):
    operator, start = maps.tanh_layer(factor)
    true = maps.iterations_to(operator, start, tolerance)
    assert abs(found(operator, start, 40).iterations(tolerance) - true) <= max(1, 0.2 * true)


def test_the_predicted_fixed_point_is_where_the_operator_stands_still():
    operator, start = maps.affine(maps.symmetric(0.95))
    iterates = maps.iterate(operator, start, 40)
    fixed = found(operator, start, 40)
    predicted = iterates[fixed.usable - 1] + fixed.combination @ np.diff(iterates, axis=0)
    exact = maps.iterate(operator, start, 2000)[-1]
    assert np.linalg.norm(predicted - exact) < 1e-4 * np.linalg.norm(iterates[-1] - exact)
    distances = np.linalg.norm(iterates - exact, axis=1)
    assert fixed.distances == pytest.approx(distances, rel=1e-4)
    assert fixed.distance == fixed.distances[-1]


def test_a_non_normal_operator_may_lengthen_steps_before_it_shortens_them():
    operator, _ = maps.affine(np.array([[0.9, 5.0], [0.0, 0.8]]))
    fixed = found(operator, np.array([0.0, 40.0]), 40)
    assert fixed.largest_ratio > 1.2
    assert fixed.interval[1] < 1.0
    assert fixed.factor == pytest.approx(0.9, abs=1e-6)


def test_no_ratio_exceeds_the_lipschitz_constant():
    matrix = maps.non_normal(0.9)
    fixed = found(*maps.affine(matrix), 40)
    assert fixed.largest_ratio <= np.linalg.norm(matrix, 2) * (1 + 1e-9)


@pytest.mark.parametrize("factor", [1.02, 1.2])
def test_an_expanding_map_has_a_factor_above_one_and_no_iteration_count(factor):
    fixed = found(*maps.affine(np.diag([factor, 0.7, 0.3, 0.1])), 30)
    assert fixed.interval[0] > 1.0
    assert fixed.factor == pytest.approx(factor, rel=1e-6)
    assert math.isinf(fixed.iterations(1e-3))


def test_a_rotation_is_not_expansive_and_its_centre_is_found():
    operator, start = maps.affine(maps.rotation(0.7))
    fixed = found(operator, start, 30)
    assert fixed.interval[0] <= 1.0 <= fixed.interval[1]
    assert fixed.largest_ratio == pytest.approx(1.0, abs=1e-9)
    matrix = maps.rotation(0.7)
    centre = np.linalg.solve(np.eye(6) - matrix, operator(np.zeros(6)))
    assert fixed.distances[0] == pytest.approx(np.linalg.norm(start - centre), rel=1e-5)


def test_a_drift_has_no_fixed_point():
    fixed = found(lambda x: x + 1.0, np.zeros(4), 20)
    assert fixed.factor == pytest.approx(1.0)
    assert np.isnan(fixed.distances).all()


def test_iterates_that_have_arrived_are_left_out():
    fixed = found(*maps.affine(maps.symmetric(0.5)), 80)
    assert fixed.usable < 60
    assert fixed.interval[0] <= 0.5 <= fixed.interval[1]


@given(power=st.integers(-40, 40), factor=st.floats(0.3, 0.97))
@settings(max_examples=10, deadline=None)
def test_units_do_not_matter(power, factor):
    iterates = maps.iterate(*maps.affine(maps.symmetric(factor)), 25)
    plain = fixed_point(gram_of(iterates))
    scaled = fixed_point(gram_of(2.0**power * iterates))
    assert scaled.factor == plain.factor
    assert np.array_equal(scaled.distances, 2.0**power * plain.distances)


def test_the_coordinate_system_does_not_matter():
    iterates = maps.iterate(*maps.affine(maps.symmetric(0.9)), 25)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60)))[0]
    turned = fixed_point(gram_of(iterates @ turn))
    assert turned.factor == pytest.approx(fixed_point(gram_of(iterates)).factor, rel=1e-5)


def test_too_few_iterates_are_refused():
    with pytest.raises(KoopscopeError, match="only 4 of 4 iterates"):
        found(*maps.affine(maps.symmetric(0.5)), 3)
    with pytest.raises(KoopscopeError, match="tolerance of 0"):
        found(*maps.affine(maps.symmetric(0.5)), 20).iterations(0)
