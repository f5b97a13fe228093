"""Measurements estimate inner products without bias, and know how far they are off."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.measured import (
    GROUPS,
    PROJECTIONS,
    Cells,
    MeasuredGram,
    allotted,
    checked_measurement,
    compression_errors,
    joined,
)
from tests.known_systems import EIGENVALUES, distance, trajectory

shapes = st.lists(st.integers(1, 20), min_size=0, max_size=3).map(tuple)


def projected(kind: str, snapshots: np.ndarray, rows: int, seed: int, width: int = 700):
    projection = PROJECTIONS[kind](len(snapshots), rows, np.random.default_rng(seed))
    for start in range(0, snapshots.shape[1], width):
        projection.add(snapshots[:, start : start + width])
    return MeasuredGram(tuple(projection.result()))


@given(shapes, st.integers(1, 300))
def test_cells_cover_a_tensor_once(shape, length):
    cells = Cells(shape, length)
    bounds = [cells.bounds(index) for index in range(len(cells))]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == int(np.prod(shape))
    assert all(first[1] == second[0] for first, second in pairwise(bounds))
    assert all(0 < stop - start <= length for start, stop in bounds)


def test_cells_follow_the_rows_of_a_matrix():
    assert [Cells((3, 100), 60).bounds(index) for index in range(3)] == [
        (0, 50),
        (50, 100),
        (100, 150),
    ]
    assert Cells((7, 10), 35).bounds(1)[0] % 10 == 0


def test_every_cell_has_the_same_chance():
    cells = Cells((1000,), 10)
    counts = np.zeros(len(cells))
    for seed in range(2000):
        for start, _ in cells.drawn(30, np.random.default_rng(seed)):
            counts[start // 10] += 1
    expected = 2000 * 30 / len(cells)
    assert np.abs(counts - expected).max() <= 6 * np.sqrt(expected)


@pytest.mark.parametrize("kind", ["sparse", "gaussian"])
def test_projections_keep_inner_products_on_average(kind):
    snapshots = trajectory(size=900, snapshots=6)
    exact = gram_of(snapshots)
    estimates = [projected(kind, snapshots, 64, seed).gram for seed in range(200)]
    mean = np.mean([estimate.increments for estimate in estimates], axis=0)
    spread = np.std([estimate.increments for estimate in estimates], axis=0) / np.sqrt(200)
    assert (np.abs(mean - exact.increments) <= 5 * spread).all()
    squares = [estimate.anchor_square for estimate in estimates]
    assert np.mean(squares) == pytest.approx(exact.anchor_square, rel=0.05)
    assert estimates[0].size == 900


@pytest.mark.parametrize("kind", ["sparse", "gaussian"])
@pytest.mark.parametrize("motion", [1.0, 1e-4])
def test_a_low_rank_trajectory_keeps_its_eigenvalues(kind, motion):
    snapshots = trajectory(motion=motion)
    spectrum = dmd(projected(kind, snapshots, 256, 0).gram, rank=6)
    assert distance(spectrum.eigenvalues, EIGENVALUES) <= 1e-8


def test_folding_does_not_depend_on_how_blocks_are_cut():
    snapshots = trajectory(size=1000, snapshots=5)
    signs = np.random.default_rng(3).integers(0, 2, 1000, np.int8) * 2.0 - 1.0
    expected = np.zeros((5, 64))
    for i in range(1000):
        expected[:, i % 64] += signs[i] * snapshots[:, i]
    projection = PROJECTIONS["sparse"](5, 64, np.random.default_rng(3))
    projection.add(snapshots)
    np.testing.assert_allclose(projection._sums, expected, rtol=1e-12, atol=1e-12)
    pieces = PROJECTIONS["sparse"](5, 64, np.random.default_rng(3))
    for start in range(0, 1000, 168):  # random signs come four to a word
        pieces.add(snapshots[:, start : start + 168])
    np.testing.assert_allclose(pieces._sums, expected, rtol=1e-12, atol=1e-12)


def test_a_bad_weight_is_noticed_by_a_projection():
    snapshots = trajectory(size=500, snapshots=6)
    snapshots[3, 17] = np.nan
    gram = projected("sparse", snapshots, 64, 0).gram
    assert gram.finite.tolist() == [True, True, True, False, True, True]
    assert np.isfinite(gram.increments).all()


def test_the_estimated_error_is_the_error_made():
    """Over many seeds, the claimed standard error is the root mean square of the true error."""
    rng = np.random.default_rng(0)
    snapshots = trajectory([0.97, 0.5], size=4000, snapshots=30)
    snapshots += 0.05 * rng.standard_normal(snapshots.shape).cumsum(axis=0)
    exact = dmd(gram_of(snapshots), rank=2)
    made, claimed = [], []
    for seed in range(60):
        measured = projected("sparse", snapshots, 256, seed, 4000)
        spectrum = dmd(measured.gram, rank=2)
        order = np.argsort(-spectrum.magnitudes)
        made.append(np.sort(spectrum.magnitudes)[::-1] - np.sort(exact.magnitudes)[::-1])
        claimed.append(compression_errors(measured, spectrum)[order])
    ratio = np.sqrt(np.mean(np.square(claimed), axis=0) / np.mean(np.square(made), axis=0))
    assert ((ratio > 0.6) & (ratio < 1.8)).all()


def test_what_was_read_whole_has_no_error():
    measured = MeasuredGram.of_all_weights(gram_of(trajectory()))
    assert measured.exact
    np.testing.assert_array_equal(
        compression_errors(measured, dmd(measured.gram, rank=6)), np.zeros(6)
    )
    assert joined([measured, measured]).exact


def test_groups_add_over_tensors_and_windows_commute_with_them():
    snapshots = trajectory(size=800, snapshots=9)
    left = projected("sparse", snapshots[:, :500], 64, 0)
    right = MeasuredGram.of_all_weights(gram_of(snapshots[:, 500:]))
    both = joined([left, right])
    assert not both.exact
    np.testing.assert_allclose(
        both.gram.increments, left.gram.increments + right.gram.increments, rtol=1e-10
    )
    np.testing.assert_allclose(
        both.each(lambda gram: gram.window(2, 7)).gram.increments,
        both.gram.window(2, 7).increments,
        rtol=1e-10,
    )


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=9), st.integers(1, 999))
def test_every_tensor_gets_whole_rounds_of_groups(shares, cells):
    dealt = list(allotted(shares, cells))
    assert len(dealt) == len(shares)
    assert all(count >= GROUPS and count % GROUPS == 0 for count in dealt)


def test_an_unknown_measurement_is_refused():
    with pytest.raises(KoopscopeError, match="unknown measurement 'fourier'"):
        checked_measurement("fourier")
