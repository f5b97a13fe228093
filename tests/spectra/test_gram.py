"""Inner products: whatever way they are gathered, cut or shifted, they are the same."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import GramAccumulator, gram_of
from koopscope.spectra.gram import SnapshotGram, total
from tests.known_systems import trajectory

snapshot_arrays = st.builds(
    lambda seed, snapshots, size, motion: trajectory(
        [0.9, 0.5], size=size, snapshots=snapshots, motion=motion, seed=seed
    ),
    seed=st.integers(0, 2**32 - 1),
    snapshots=st.integers(2, 9),
    size=st.integers(2, 60),
    motion=st.sampled_from([1.0, 1e-3, 1e-6]),
)


def assert_same(found: SnapshotGram, expected: SnapshotGram) -> None:
    scale = np.abs(expected.increments).max()
    np.testing.assert_allclose(found.increments, expected.increments, rtol=0, atol=1e-12 * scale)
    along = np.sqrt(scale * expected.anchor_square)
    np.testing.assert_allclose(
        found.anchor_increments, expected.anchor_increments, rtol=0, atol=1e-12 * along
    )
    assert found.anchor_square == pytest.approx(expected.anchor_square, rel=1e-12)
    assert found.size == expected.size
    np.testing.assert_array_equal(found.changes.unchanged, expected.changes.unchanged)
    np.testing.assert_array_equal(found.nonfinite, expected.nonfinite)


@given(snapshot_arrays, st.data())
def test_matrices_add_over_any_split_into_tensors(snapshots, data):
    cuts = data.draw(st.lists(st.integers(1, snapshots.shape[1] - 1), unique=True, max_size=4))
    parts = np.split(snapshots, sorted(cuts), axis=1)
    assert_same(total(gram_of(part) for part in parts), gram_of(snapshots))


@given(snapshot_arrays, st.data())
def test_matrices_add_over_any_split_into_blocks(snapshots, data):
    cuts = data.draw(st.lists(st.integers(1, snapshots.shape[1] - 1), unique=True, max_size=4))
    accumulator = GramAccumulator(len(snapshots))
    for part in np.split(snapshots, sorted(cuts), axis=1):
        accumulator.add(np.ascontiguousarray(part))
    assert_same(accumulator.result(), gram_of(snapshots))


@given(snapshot_arrays, st.data())
def test_a_window_is_what_its_snapshots_alone_give(snapshots, data):
    first = data.draw(st.integers(0, len(snapshots) - 1))
    stop = data.draw(st.integers(first + 1, len(snapshots)))
    found, expected = gram_of(snapshots).window(first, stop), gram_of(snapshots[first:stop])
    scale = max(np.abs(gram_of(snapshots).increments).max(), 1e-300)
    np.testing.assert_allclose(found.increments, expected.increments, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        found.raw(), expected.raw(), rtol=0, atol=1e-11 * max(scale, expected.anchor_square)
    )
    np.testing.assert_array_equal(found.changes.unchanged, expected.changes.unchanged)


@given(snapshot_arrays, st.floats(-1e3, 1e3))
def test_adding_a_constant_to_every_snapshot_leaves_what_moves_alone(snapshots, shift):
    found, expected = gram_of(snapshots + shift), gram_of(snapshots)
    step = np.spacing(np.abs(snapshots).max() + abs(shift))
    tolerance = 8 * step * snapshots.shape[1] * np.abs(np.diff(snapshots, axis=0)).max()
    tolerance += 4 * step**2 * snapshots.shape[1]
    np.testing.assert_allclose(found.increments, expected.increments, rtol=0, atol=tolerance)


@given(snapshot_arrays)
def test_raw_products_are_those_of_the_snapshots(snapshots):
    found, expected = gram_of(snapshots).raw(), snapshots @ snapshots.T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@given(snapshot_arrays, st.integers(1, 3), st.sampled_from(["increments", "centered", "raw"]))
def test_delayed_products_are_those_of_the_stacked_series(snapshots, delay, name):
    values = np.diff(snapshots, axis=0) if name == "increments" else snapshots
    if name == "centered":
        values = values - values[0]
        values = values - values.mean(axis=0)
    if len(values) < delay:
        with pytest.raises(KoopscopeError, match="stacked"):
            gram_of(snapshots).observable(name, delay)
        return
    length = len(values) - delay + 1
    stacked = np.concatenate([values[lag : lag + length] for lag in range(delay)], axis=1)
    np.testing.assert_allclose(
        gram_of(snapshots).observable(name, delay),
        stacked @ stacked.T,
        rtol=0,
        atol=1e-11 * max(1e-300, (stacked**2).sum(axis=1).max()),
    )


@settings(max_examples=50)
@given(snapshot_arrays, st.data())
def test_increments_that_touch_no_bad_entry_are_exact(snapshots, data):
    bad = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(snapshots), max_size=len(snapshots)))
    )
    column = data.draw(st.integers(0, snapshots.shape[1] - 1))
    broken = snapshots.copy()
    broken[bad, column] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e200]))
    found, expected = gram_of(broken), gram_of(snapshots)
    np.testing.assert_array_equal(found.nonfinite, bad.astype(int))
    assert np.isfinite(found.increments).all()
    whole = ~(bad[1:] | bad[:-1])
    np.testing.assert_allclose(
        found.increments[np.ix_(whole, whole)],
        expected.increments[np.ix_(whole, whole)],
        rtol=0,
        atol=1e-12 * np.abs(expected.increments).max(),
    )
    for t in np.flatnonzero(~bad):
        square = found.window(t, t + 1).anchor_square
        assert square == pytest.approx(expected.window(t, t + 1).anchor_square, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_bad_entry_is_counted_without_a_warning_in_every_dtype(dtype):
    snapshots = np.ones((4, 5), dtype)
    snapshots[2, 3] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gram_of(snapshots).nonfinite.tolist() == [0, 0, 1, 0]


def test_differences_of_half_precision_snapshots_are_taken_in_double():
    snapshots = np.array([[1.0], [1.0009765625], [2048.0], [2050.0]], np.float16)
    np.testing.assert_array_equal(
        np.sqrt(np.diag(gram_of(snapshots).increments)), np.diff(snapshots[:, 0].astype(float))
    )


def test_entries_that_stand_still_are_counted():
    snapshots = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 3.0], [0.0, 2.0, 4.0]])
    gram = gram_of(snapshots)
    assert gram.changes.unchanged.tolist() == [2, 1]
    assert (gram.changes.still, gram.changes.compared) == (1, 3)


def test_lengths_are_those_of_the_path():
    snapshots = trajectory(size=40, snapshots=7)
    gram, steps = gram_of(snapshots), np.linalg.norm(np.diff(snapshots, axis=0), axis=1)
    np.testing.assert_allclose(gram.speeds(), steps, rtol=1e-12)
    assert gram.path_length() == pytest.approx(steps.sum(), rel=1e-12)
    assert gram.displacement() == pytest.approx(np.linalg.norm(snapshots[-1] - snapshots[0]))


def test_parts_with_different_snapshots_do_not_join():
    with pytest.raises(KoopscopeError, match="cannot join 3 snapshots with 4"):
        gram_of(np.ones((3, 2))) + gram_of(np.ones((4, 2)))


@pytest.mark.parametrize(("first", "stop"), [(-1, 2), (2, 2), (0, 6), (3, 1)])
def test_a_window_outside_the_run_is_refused(first, stop):
    with pytest.raises(KoopscopeError, match=f"snapshots {first}:{stop} are outside 0:5"):
        gram_of(np.ones((5, 2))).window(first, stop)


def test_nothing_to_join_is_refused():
    with pytest.raises(KoopscopeError, match="no weight"):
        total([])


def test_an_unknown_observable_and_an_impossible_delay_are_refused():
    gram = gram_of(np.ones((5, 2)))
    with pytest.raises(KoopscopeError, match="unknown observable 'speed'"):
        gram.observable("speed")
    with pytest.raises(KoopscopeError, match="delay of 0"):
        gram.observable("weights", 0)
