import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import kv

from koopscope.errors import KoopscopeError
from koopscope.sobolev import (
    kernel_matrix,
    norm,
    scattered_gradient,
    scattered_norm,
    scattered_squared_norm,
)


def smooth(x):
    return np.exp(np.sin(2 * np.pi * x)) - 0.3 * np.cos(6 * np.pi * x)


def uniform(n, dimension):
    axes = np.meshgrid(*[np.arange(n) / n] * dimension, indexing="ij")
    return np.stack(axes, -1).reshape(-1, dimension)


@pytest.mark.parametrize("s", [0.1, 0.25, 0.5, 1.0, 2.0])
def test_on_a_grid_it_is_the_grid_norm_to_discretization_error(s):
    exact = norm(smooth(np.arange(512) / 512), s)
    errors = []
    for n in (16, 64):
        x = np.arange(n) / n
        errors.append(abs(scattered_norm(smooth(x), kernel_matrix(x, s, period=1.0)) / exact - 1))
    assert errors[0] < 2e-4
    assert errors[1] < max(errors[0] / 4**1.0, 1e-6)  # at least first order, down to quadrature


@pytest.mark.parametrize(("dimension", "n"), [(2, 12), (3, 6)])
@pytest.mark.parametrize("s", [0.5, 1.0])
def test_in_two_and_three_dimensions_too(dimension, n, s):
    points = uniform(n, dimension)
    f = np.exp(np.sin(2 * np.pi * points).sum(axis=1) / 2)
    on_grid = norm(f.reshape((n,) * dimension), s)
    assert scattered_norm(f, kernel_matrix(points, s, period=1.0)) == pytest.approx(
        on_grid, rel=2e-3
    )


@pytest.mark.parametrize("s", [0.25, 0.5, 1.0])
def test_at_random_points_it_comes_closer_as_they_get_denser(s):
    exact = norm(smooth(np.arange(512) / 512), s)
    error = {}
    for n in (20, 200):
        relative = []
        for seed in range(30):
            x = np.random.default_rng(seed).random(n)
            relative.append(scattered_norm(smooth(x), kernel_matrix(x, s, period=1.0)) / exact - 1)
        error[n] = np.sqrt(np.mean(np.square(relative)))
    assert error[200] < error[20] / 1.5  # Monte Carlo: a factor of 3.2 on average
    assert error[200] < 0.08


def test_away_from_the_diagonal_it_is_the_green_s_function_of_free_space():
    x = np.linspace(0, 3, 150)
    distance = np.abs(x[:, None] - x)[10:, 0]
    order_one = kernel_matrix(x, 1.0, volume=1.0)[10:, 0]
    assert order_one == pytest.approx(np.exp(-distance) / 2, rel=1e-6)
    order_half = kernel_matrix(x, 0.5, volume=1.0)[10:, 0]
    assert order_half == pytest.approx(kv(0, distance) / np.pi, rel=1e-6)


def test_a_large_torus_is_free_space():
    x = np.random.default_rng(0).random((40, 2))
    free = kernel_matrix(x, 0.75, volume=1.0)
    torus = kernel_matrix(x, 0.75, period=40.0, volume=1.0)
    assert torus == pytest.approx(free, rel=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    s=st.floats(0.05, 2.5),
    dimension=st.integers(1, 3),
    periodic=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_it_is_a_norm_at_any_points_even_nearly_coincident_ones(seed, s, dimension, periodic):
    rng = np.random.default_rng(seed)
    points = rng.random((12, dimension))
    points[1] = points[0] + 1e-9
    kernel = kernel_matrix(points, s, period=1.0 if periodic else None)
    assert np.array_equal(kernel, kernel.T)
    eigenvalues = np.linalg.eigvalsh(kernel)
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-5, 5), s=st.floats(0.1, 2.0))
@settings(max_examples=20, deadline=None)
def test_moving_all_points_around_the_torus_changes_nothing(seed, shift, s):
    rng = np.random.default_rng(seed)
    x, e = rng.random(20), rng.standard_normal(20)
    there = scattered_norm(e, kernel_matrix(x + shift, s, period=1.0))
    assert there == pytest.approx(scattered_norm(e, kernel_matrix(x, s, period=1.0)), rel=1e-6)


def test_order_zero_is_the_mean_square():
    x = np.random.default_rng(0).random((30, 3))
    e = np.random.default_rng(1).standard_normal(30)
    assert scattered_squared_norm(e, kernel_matrix(x, 0.0)) == pytest.approx(np.mean(e**2))


def test_the_gradient_is_the_slope_of_the_squared_norm():
    rng = np.random.default_rng(0)
    kernel = kernel_matrix(rng.random((25, 2)), 0.5)
    e, direction, h = rng.standard_normal(25), rng.standard_normal(25), 1e-5
    slope = (
        scattered_squared_norm(e + h * direction, kernel)
        - scattered_squared_norm(e - h * direction, kernel)
    ) / (2 * h)
    assert scattered_gradient(e, kernel) @ direction == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: kernel_matrix(np.zeros((3, 4)), 0.5), "(3, 4)"),
        (lambda: kernel_matrix(np.array([0.0, np.nan]), 0.5), "NaN"),
        (lambda: kernel_matrix(np.arange(3.0), -1.0), "-1.0"),
        (lambda: kernel_matrix(np.arange(3.0), 0.5, volume=-2.0), "-2.0"),
        (lambda: scattered_norm(np.zeros(3), np.eye(4)), "(3,)"),
    ],
)
def test_senseless_input_is_refused_by_name(call, names):
    with pytest.raises(KoopscopeError) as refusal:
        call()
    assert names in refusal.value.message
    assert refusal.value.hint
