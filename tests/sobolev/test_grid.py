import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.sobolev import gradient, norm, squared_norm, symbol

SHAPES = [(16,), (15,), (8, 6), (7, 9), (4, 6, 5), (5, 4, 8)]
orders = st.floats(0.0, 3.0)
seeds = st.integers(0, 2**32 - 1)


def field(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def full_spectrum_norm(f, s, lengths):
    """The definition itself, summed over the full spectrum."""
    coefficients = np.fft.fftn(f) / f.size
    waves = np.meshgrid(
        *[np.fft.fftfreq(n, side / n) for n, side in zip(f.shape, lengths, strict=True)],
        indexing="ij",
    )
    weights = (1.0 + 4.0 * np.pi**2 * sum(k**2 for k in waves)) ** -s
    return float((weights * np.abs(coefficients) ** 2).sum())


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_order_zero_is_the_mean_square(shape, seed):
    f = field(shape, seed)
    assert squared_norm(f, 0.0) == pytest.approx(np.mean(f**2), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@given(s=orders, seed=seeds)
@settings(max_examples=20, deadline=None)
def test_the_half_spectrum_gives_the_sum_over_the_full_one(shape, s, seed):
    f, lengths = field(shape, seed), [1.0, 2.5, 0.7][: len(shape)]
    assert squared_norm(f, s, lengths) == pytest.approx(
        full_spectrum_norm(f, s, lengths), rel=1e-12
    )


@pytest.mark.parametrize("frequency", [0, 1, 4, 16, 64])
@pytest.mark.parametrize("s", [0.25, 0.5, 1.0])
def test_a_single_wave_is_weighed_by_its_frequency(frequency, s):
    x = np.arange(256) / 256
    f = np.cos(2 * np.pi * frequency * x)
    weight = (1 + 4 * np.pi**2 * frequency**2) ** -s
    assert squared_norm(f, s) == pytest.approx(np.mean(f**2) * weight, rel=1e-10)


@given(s=orders, c=st.floats(-100, 100), seed=seeds)
@settings(max_examples=40, deadline=None)
def test_the_norm_scales_with_the_function(s, c, seed):
    f = field((12, 10), seed)
    assert norm(c * f, s) == pytest.approx(abs(c) * norm(f, s), rel=1e-10, abs=1e-12)


@given(s=orders, shift=st.integers(0, 31), seed=seeds)
@settings(max_examples=40, deadline=None)
def test_the_norm_does_not_see_where_the_origin_is(s, shift, seed):
    f = field((32,), seed)
    assert norm(np.roll(f, shift), s) == pytest.approx(norm(f, s), rel=1e-10)


@given(s=orders, t=orders, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_a_higher_order_is_never_larger(s, t, seed):
    f = field((9, 8), seed)
    assert norm(f, max(s, t)) <= norm(f, min(s, t)) * (1 + 1e-12)


@given(seed=seeds, s=st.floats(0.1, 2.0), factor=st.sampled_from([2, 3, 5]))
@settings(max_examples=30, deadline=None)
def test_repeating_a_pattern_on_a_longer_torus_leaves_its_norm(seed, s, factor):
    f = field((16,), seed)
    assert norm(np.tile(f, factor), s, float(factor)) == pytest.approx(norm(f, s, 1.0), rel=1e-10)


def test_far_beyond_the_turn_doubling_the_frequency_divides_the_norm_by_two_to_the_s():
    x = np.arange(4096) / 4096
    for s in (0.25, 0.5, 1.0):
        ratio = norm(np.sin(2 * np.pi * 400 * x), s) / norm(np.sin(2 * np.pi * 800 * x), s)
        assert ratio == pytest.approx(2.0**s, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("s", [0.0, 0.25, 0.5, 1.0])
def test_the_gradient_is_the_slope_of_the_squared_norm(shape, s):
    f, direction, h = field(shape, 1), field(shape, 2), 1e-5
    slope = (squared_norm(f + h * direction, s) - squared_norm(f - h * direction, s)) / (2 * h)
    assert np.vdot(gradient(f, s), direction) == pytest.approx(slope, rel=1e-8)


@given(s=orders, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_half_the_gradient_against_the_function_is_its_squared_norm(s, seed):
    f = field((10, 7), seed)
    assert np.vdot(gradient(f, s), f) / 2 == pytest.approx(squared_norm(f, s), rel=1e-10)


def test_a_batch_gives_each_entry_its_own_norm():
    batch = field((3, 2, 8, 6))
    norms = norm(batch, 0.5, dimension=2)
    assert norms.shape == (3, 2)
    assert norms[1, 0] == pytest.approx(norm(batch[1, 0], 0.5), rel=1e-12)
    assert np.allclose(gradient(batch, 0.5, dimension=2)[2, 1], gradient(batch[2, 1], 0.5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept_and_float32_is_right_to_its_precision(dtype):
    f = field((64, 64))
    got = squared_norm(f.astype(dtype), 0.5)
    assert got.dtype == dtype
    assert gradient(f.astype(dtype), 0.5).dtype == dtype
    rounding = float(50 * np.finfo(dtype).eps)
    assert float(got) == pytest.approx(float(squared_norm(f, 0.5)), rel=rounding)


def test_the_input_is_not_changed():
    f = field((8, 8))
    before = f.copy()
    squared_norm(f, 1.0), gradient(f, 1.0)
    assert np.array_equal(f, before)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: norm(field((8,)), -0.5), "-0.5"),
        (lambda: norm(field((8,)), float("nan")), "nan"),
        (lambda: norm(field((2, 2, 2, 2)), 0.5), "(2, 2, 2, 2)"),
        (lambda: norm(field((8,)), 0.5, [1.0, 1.0]), "1 dimensions"),
        (lambda: norm(field((8,)), 0.5, 0.0), "0.0"),
        (lambda: norm(field((8,)) * 1j, 0.5), "complex128"),
        (lambda: symbol((), 0.5), "()"),
        (lambda: symbol((4, 0), 0.5), "(4, 0)"),
    ],
)
def test_senseless_input_is_refused_by_name(call, names):
    with pytest.raises(KoopscopeError) as refusal:
        call()
    assert names in refusal.value.message
    assert refusal.value.hint
