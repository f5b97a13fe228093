"""A sketch is linear, adds up over parts, and its inner products are right on average."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.runs.sketches import FACTS, SketchInfo
from koopscope.runs.sketching.devices import JaxDevice, TorchDevice
from koopscope.runs.sketching.parts import Part, runs_of
from koopscope.runs.sketching.pattern import CELLS, Pattern
from koopscope.runs.sketching.projection import sums_of
from koopscope.runs.sketching.sketcher import Sketcher, summed
from tests.frameworks import framework

RNG = np.random.default_rng(0)


def sketch(values, numbers=16, seed=0, name="w"):
    flat = np.ascontiguousarray(values).reshape(-1)
    own = Pattern.of(numbers, seed).tensor(name, flat.size)
    return own.reduced(sums_of(flat, flat.dtype.name, [(0, 0, flat.size)], own).cells)


def facts_of(found):
    return dict(zip(FACTS, found.facts, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2 * CELLS + 99), st.floats(-3, 3), st.integers(0, 3))
def test_it_is_linear(size, factor, seed):
    x, y = np.random.default_rng(size).normal(size=(2, size))
    together = sketch(x + factor * y, seed=seed)
    scale = np.abs(x).sum() + abs(factor) * np.abs(y).sum()
    np.testing.assert_allclose(
        together, sketch(x, seed=seed) + factor * sketch(y, seed=seed), atol=1e-13 * scale
    )


def test_a_tensor_of_no_more_weights_than_numbers_is_kept_whole():
    x = RNG.normal(size=(4, 4)).astype(np.float32)
    np.testing.assert_array_equal(sketch(x), x.ravel())


ROWS, COLUMNS = 1024, 96  # three stretches
SHAPES = {
    "noise": (RNG.normal(size=(ROWS, COLUMNS)), RNG.normal(size=(ROWS, COLUMNS))),
    "one pattern in all rows": (
        np.ones((ROWS, 1)) * RNG.normal(size=COLUMNS),
        np.ones((ROWS, 1)) * RNG.normal(size=COLUMNS),
    ),
    "one column": (np.eye(1, COLUMNS, 5) * np.ones((ROWS, 1)),) * 2,
    "a constant": (np.ones((ROWS, COLUMNS)),) * 2,
}


@pytest.mark.parametrize("kind", SHAPES)
def test_inner_products_are_unbiased_with_the_stated_variance(kind):
    x, y = (each.astype(np.float32) for each in SHAPES[kind])
    numbers, draws = 16, 400
    names = [f"tensor {index}" for index in range(draws)]
    found = np.array([sketch(x, numbers, name=n) @ sketch(y, numbers, name=n) for n in names])
    exact = float((x.astype(float) * y).sum())
    xx, yy = float((x.astype(float) ** 2).sum()), float((y.astype(float) ** 2).sum())
    stated = (1 / numbers + 1 / CELLS) * (xx * yy + exact**2)
    assert abs(found.mean() - exact) < 4.0 * np.sqrt(stated / draws)
    # Of 400 draws the variance is known to 7% for normal ones; heavy tails allow for more.
    assert np.square(found - exact).mean() < 1.35 * stated


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_parts_add_up_to_the_whole(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    axis = data.draw(st.integers(0, len(shape) - 1))
    cut = data.draw(st.integers(0, shape[axis]))
    low, high = np.split(x, [cut], axis=axis)
    start = [0] * len(shape)
    first = Part(low, shape, start)
    start[axis] = cut
    second = Part(high, shape, start)
    whole = Sketcher(SketchInfo(8, 3)).measured({"w": x})["w"]
    ranks = [Sketcher(SketchInfo(8, 3)).measured({"w": part}) for part in (first, second)]
    together = summed(ranks)["w"]
    assert together.held == x.size
    np.testing.assert_allclose(together.values, whole.values, atol=1e-6)
    np.testing.assert_allclose(together.facts[:6], whole.facts[:6], rtol=1e-6)
    in_one_process = Sketcher(SketchInfo(8, 3)).measured({"w": [first, second]})["w"]
    np.testing.assert_allclose(in_one_process.values, whole.values, atol=1e-6)


def test_ranks_of_a_large_tensor_add_up_to_rounding():
    x = RNG.normal(size=(700, 300)).astype(np.float32)
    parts = [Part(x[:123], x.shape, (0, 0)), Part(x[123:], x.shape, (123, 0))]
    ranks = [Sketcher(SketchInfo(64, 0)).measured({"w": part}) for part in parts]
    whole = Sketcher(SketchInfo(64, 0)).measured({"w": x})["w"]
    together = summed(ranks)["w"]
    np.testing.assert_allclose(
        together.values, whole.values, atol=1e-6 * np.linalg.norm(whole.values)
    )


def test_the_runs_of_a_box_hold_its_entries_once():
    x = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    box = x[1:3, 1:3, :]
    flat, found = box.ravel(), []
    for begin, where, length in runs_of(box.shape, x.shape, (1, 1, 0)):
        np.testing.assert_array_equal(flat[begin : begin + length], x.ravel()[where:][:length])
        found.append(length)
    assert sum(found) == box.size


def test_a_part_outside_of_its_tensor_is_refused():
    with pytest.raises(KoopscopeError, match="does not lie inside"):
        Part(np.zeros((3, 4)), (3, 5), (0, 2))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_facts_of_a_tensor_that_fits_the_cells_are_exact(dtype):
    base = RNG.normal(size=(3, 40, 50))
    snapshots = [
        (base[0] + 0.1 * t * base[1] + 0.01 * t * t * base[2]).astype(dtype) for t in range(5)
    ]
    sketcher = Sketcher(SketchInfo(8, 0))
    found = [facts_of(sketcher.measured({"w": each})["w"]) for each in snapshots]
    wide = [each.astype(complex).ravel() for each in snapshots]
    moves = [None, *(b - a for a, b in itertools.pairwise(wide))]
    for t in range(2, 5):
        assert found[t]["square"] == pytest.approx(np.vdot(wide[t], wide[t]).real, rel=1e-6)
        assert found[t]["change"] == pytest.approx(np.vdot(moves[t], moves[t]).real, rel=1e-5)
        product = np.vdot(moves[t - 1], moves[t]).real
        assert found[t]["product"] == pytest.approx(product, rel=1e-5)
        away = wide[t] - wide[0]
        assert found[t]["start"] == pytest.approx(np.vdot(away, away).real, rel=1e-5)
        assert found[t]["compared"] == 2000
    parts = snapshots[4].view(snapshots[4].real.dtype)
    assert found[4]["largest"] == pytest.approx(np.abs(parts.astype(float)).max(), rel=1e-6)


def test_what_stands_still_and_what_has_a_twin_is_counted():
    rows = RNG.normal(size=(8, 6)).astype(np.float32)
    rows[5] = rows[2]
    rows[:, 5] = 1.0
    sketcher = Sketcher(SketchInfo(8, 0))
    for t in range(4):
        moved = rows * np.float32(1.0 + t)
        moved[7], moved[:, 5] = rows[7], 1.0
        found = facts_of(sketcher.measured({"w": moved})["w"])
    assert found["unchanged"] == 6 + 7
    assert found["moved"] == 48 - 13
    assert found["twins"] == 2 * 5
    assert (found["units"], found["units_unchanged"]) == (8, 1)


def test_bfloat16_words_are_the_numbers_they_stand_for():
    torch = framework("torch")
    x = torch.randn(500, dtype=torch.bfloat16)
    found = Sketcher(SketchInfo(64, 0)).measured({"w": x})["w"]
    np.testing.assert_array_equal(found.values, sketch(x.float().numpy(), 64))
    assert found.dtype == "bfloat16"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_snapshot_that_is_not_finite_is_counted_and_leaves_no_number(bad):
    x = np.ones((3, 50_000), np.float32)
    sketcher = Sketcher(SketchInfo(8, 0))
    sketcher.measured({"w": x})
    broken = x.copy()
    broken[1, 40_000:40_003] = bad
    found = sketcher.measured({"w": broken})["w"]
    assert facts_of(found)["nonfinite"] == 3
    assert not found.values.any()
    assert np.isnan(facts_of(found)["square"])


def test_finite_numbers_whose_squares_leave_float32_are_no_infinities():
    x = np.full(40_000, 3e30, np.float32)
    found = facts_of(Sketcher(SketchInfo(8, 0)).measured({"w": x})["w"])
    assert found["nonfinite"] == 0
    assert found["square"] == pytest.approx(40_000 * 9e60, rel=1e-5)


@pytest.mark.parametrize("size", [10, 5_000, 3 * CELLS + 17])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_pytorch_and_jax_give_the_same_sums_on_their_device(size, dtype):
    torch, jax = framework("torch"), framework("jax")
    x = RNG.normal(size=(2, size)).astype(np.float32)
    x = x[0] if dtype == "float32" else (x[0] + 1j * x[1]).astype(np.complex64)
    pairs = x.view(np.float32)
    own = Pattern.of(16, 0).tensor("w", pairs.size)
    runs = [(0, 0, pairs.size)]
    here = sums_of(pairs, "float32", runs, own)
    for device in (TorchDevice(torch, torch.from_numpy(x)), JaxDevice(jax, jax.numpy.asarray(x))):
        there = device.sums_of(runs, own)
        np.testing.assert_allclose(there.cells, here.cells, atol=2e-6 * np.sqrt(size))
        assert there.square == pytest.approx(here.square, rel=1e-5)
        assert (there.largest, there.nonfinite) == (pytest.approx(here.largest), 0)
        np.testing.assert_array_equal(device.sampled(slice(0, 4)), x[:4])
    broken = np.array([1.0, np.nan], np.float32)
    small = Pattern.of(16, 0).tensor("w", 2)
    for device in (
        TorchDevice(torch, torch.from_numpy(broken)),
        JaxDevice(jax, jax.numpy.asarray(broken)),
    ):
        assert device.sums_of([(0, 0, 2)], small).nonfinite == 1
