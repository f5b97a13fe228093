"""The moments of units: what they tell of a known trajectory, and that parts of it add up."""

import numpy as np
import pytest

from koopscope.spectra.accumulating import GramAccumulator, gram_of
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.units import UnitAxis, UnitMoments, joined_units, spans

SHAPE = (5, 7)


def walk(snapshots: int = 41) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((snapshots, *SHAPE)).cumsum(axis=0)


def gram(values: np.ndarray, axis: int, cuts: tuple[int, ...] = ()) -> SnapshotGram:
    flat = values.reshape(len(values), -1)
    accumulator = GramAccumulator(len(flat))
    for start, stop in zip((0, *cuts), (*cuts, flat.shape[1]), strict=True):
        part = GramAccumulator(len(flat))
        part.add(flat[:, start:stop], start, UnitAxis(SHAPE, axis))
        accumulator.absorb(part.result())
    return accumulator.result()


@pytest.mark.parametrize("axis", [0, 1])
def test_parts_cut_anywhere_add_up_to_the_whole(axis: int) -> None:
    whole, parts = gram(walk(), axis), gram(walk(), axis, (3, 11, 20))
    assert whole.units is not None
    assert parts.units is not None
    np.testing.assert_allclose(parts.units.values, whole.units.values, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_are_those_of_the_axis_wherever_a_block_begins(axis: int) -> None:
    values = np.arange(60.0).reshape(3, 4, 5)
    whole = values.sum(axis=tuple({0, 1, 2} - {axis}))
    where = UnitAxis(values.shape, axis)
    for cut in (1, 4, 7, 20, 33, 59):
        head, tail = values.ravel()[:cut], values.ravel()[cut:]
        assert where.sums(0, head) + where.sums(cut, tail) == pytest.approx(whole)


def test_moments_are_those_of_each_unit_over_the_first_and_the_last_quarter() -> None:
    values = walk()
    units = gram(values, 1).units
    assert units is not None
    assert units.units == 7
    for span, (begin, end) in enumerate(((0, 10), (30, 40))):
        w = values[begin, :, 3]
        d = values[end, :, 3] - w
        np.testing.assert_allclose(units.values[span, :, 3], [d @ d, d @ w, w @ w], rtol=1e-12)


def test_a_unit_that_only_shrinks_does_not_turn() -> None:
    values = walk()
    values[:, 2] = values[0, 2] * 0.99 ** np.arange(41)[:, None]
    units = gram(values, 0).units
    assert units is not None
    turned = units.turned(1)
    assert turned[2] < 1e-7 < np.delete(turned, 2).min()
    assert units.stretched(1)[2] == pytest.approx(0.99**10 - 1.0)


def test_a_window_has_no_moments_and_all_of_a_run_has() -> None:
    whole = gram(walk(), 0)
    assert whole.window(0, 41).units is whole.units
    assert whole.window(1, 41).units is None
    assert gram_of(walk().reshape(41, -1)).units is None


def test_units_of_other_numbers_do_not_join() -> None:
    three, four = (UnitMoments(np.ones((2, 3, count))) for count in (3, 4))
    assert joined_units(three, four) is None
    joined = joined_units(three, three)
    assert joined is not None
    assert (joined.values == 2.0).all()


@pytest.mark.parametrize(("snapshots", "expected"), [(1, (0, 0)), (2, (0, 1)), (9, (6, 8))])
def test_the_last_span_of_short_runs(snapshots: int, expected: tuple[int, int]) -> None:
    assert spans(snapshots)[1] == expected
