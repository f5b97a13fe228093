"""The numbers behind a comparison, on inputs whose answer is known in closed form."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from koopscope.comparison.calibration import CONTRASTS, DISTANCES, SCALES, WEIGHTS
from koopscope.comparison.distances import PARTS, usual_distances
from koopscope.comparison.motions import motions
from koopscope.comparison.operators import operator_distance, spectra_distance
from koopscope.comparison.parting import parting
from koopscope.comparison.permutation import permutation_test
from koopscope.comparison.timeline import timeline
from koopscope.comparison.verdicts import group_verdict, score_of_groups, score_of_pair
from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.gram_joins import picked
from tests.known_systems import trajectory


def rotation(rank: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.standard_normal((rank, rank)))[0]


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_a_rotated_operator_is_the_same_law(rank: int) -> None:
    A = 0.5 * np.random.default_rng(rank).standard_normal((rank, rank))
    Q = rotation(rank, 100 + rank)
    assert operator_distance(A, Q @ A @ Q.T) == pytest.approx(0.0, abs=1e-4)
    assert operator_distance(A, A + 0.3 * np.eye(rank)) > 0.05


def test_operators_tell_apart_what_spectra_cannot() -> None:
    normal = np.diag([0.9, 0.5])
    feeding = np.array([[0.9, 1.0], [0.0, 0.5]])
    values = [np.linalg.eigvals(each).astype(complex) for each in (normal, feeding)]
    assert spectra_distance(*values) == pytest.approx(0.0, abs=1e-12)
    assert operator_distance(normal, feeding) > 0.3


def test_the_operator_distance_is_that_of_a_brute_force_search() -> None:
    rng = np.random.default_rng(4)
    A, B = rng.standard_normal((2, 2, 2))
    angles = np.linspace(0.0, 2.0 * np.pi, 20001)
    turns = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    turns = turns.transpose(2, 0, 1)
    both = np.concatenate([turns, turns @ np.diag([1.0, -1.0])])
    off = np.linalg.norm(A - both @ B @ both.swapaxes(1, 2), axis=(1, 2)).min()
    scale = np.sqrt(np.sum(A**2) + np.sum(B**2))
    assert operator_distance(A, B) == pytest.approx(off / scale, rel=1e-4)


def test_spectra_are_matched_one_to_one() -> None:
    one = np.array([0.9, 0.8, 0.1], complex)
    other = np.array([0.8, 0.1, 0.95], complex)
    assert spectra_distance(one, other) == pytest.approx(0.05 / 3)
    assert spectra_distance(one, other[:2]) == pytest.approx((0.9 + 0.0 + 0.0) / 3)
    assert spectra_distance(one[:0], other[:0]) == 0.0


def matrix(points: np.ndarray) -> np.ndarray:
    return np.abs(points[:, None] - points[None, :])


def test_the_permutation_test_counts_every_assignment() -> None:
    points = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2])
    found = permutation_test(matrix(points), 3)
    assert (found.assignments, found.is_exact) == (20, True)
    assert found.p_value == found.smallest == pytest.approx(0.1)
    four = permutation_test(matrix(np.append(points, [5.3])), 3)
    assert four.p_value == four.smallest == pytest.approx(1 / 35)


def test_the_permutation_test_is_uniform_where_labels_mean_nothing() -> None:
    rng = np.random.default_rng(0)
    found = [permutation_test(matrix(rng.standard_normal(8)), 4).p_value for _ in range(300)]
    for level in (0.1, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=0.07)


def test_many_repeats_are_permuted_at_random_with_one_result() -> None:
    points = np.random.default_rng(1).standard_normal(20)
    first, again = (permutation_test(matrix(points), 10) for _ in range(2))
    assert first == again
    assert not first.is_exact


def test_three_a_side_are_told_apart_by_their_contrast_too() -> None:
    clear = matrix(np.array([0.0, 0.01, 0.02, 2.0, 2.01, 2.02]))
    test = permutation_test(clear, 3)
    assert group_verdict(test, score_of_groups(test.contrast, "layers")) == "different"
    faint = 0.01 * clear
    test = permutation_test(faint, 3)
    assert test.p_value == pytest.approx(0.1)
    assert group_verdict(test, score_of_groups(test.contrast, "layers")) != "different"


@pytest.mark.parametrize("level", ["network", "layers"])
def test_scores_are_monotone_and_cover_the_whole_range(level: str) -> None:
    scores = [score_of_pair(x, level) for x in np.linspace(-3.0, 4.0, 50)]
    beyond = [score.same_beyond for score in scores]
    within = [score.different_within for score in scores]
    assert beyond == sorted(beyond, reverse=True)
    assert within == sorted(within)
    assert (beyond[0], beyond[-1], within[0], within[-1]) == (1.0, 0.0, 0.0, 1.0)
    assert scores[0].verdict == "same"
    assert scores[-1].verdict == "different"
    assert any(score.verdict == "inconclusive" for score in scores)


def test_the_calibration_has_a_number_for_every_part() -> None:
    for level in ("network", "layers"):
        assert SCALES[level].shape == WEIGHTS[level].shape == (len(PARTS),)
        assert WEIGHTS[level].sum() == pytest.approx(1.0, abs=0.01)
        assert (SCALES[level] > 0.0).all()
        for tables in (DISTANCES, CONTRASTS):
            same, different = tables[level]
            assert (np.diff(same) >= 0.0).all()
            assert np.median(different) > np.median(same)


def test_distances_are_counted_from_zero() -> None:
    assert usual_distances(-np.log(11.0)) == pytest.approx(0.0)
    assert usual_distances(0.0) == pytest.approx(1.0)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_exponent_of_growth_lies_in_its_interval_about_nine_times_in_ten(
    exponent: float,
) -> None:
    steps = np.arange(0, 400, 10)
    time = np.maximum(steps - 100, 0).astype(float)
    hits = []
    for seed in range(100):
        noise = np.exp(0.05 * np.random.default_rng(seed).standard_normal(len(steps)))
        squares = (0.01 * time**exponent * noise) ** 2
        found = parting(steps, squares, np.full(len(steps), 1e-6), (squares > 0.0).astype(float))
        assert (found.parts_at_step, found.growth) == (110, "power")
        assert found.interval is not None
        assert found.interval[1] - found.interval[0] < 0.2
        hits.append(found.interval[0] <= exponent <= found.interval[1])
    assert 0.8 <= np.mean(hits) <= 0.99


def test_exponential_growth_is_named_with_its_doubling() -> None:
    steps = np.arange(0, 200, 5)
    squares = (1e-5 * 2.0 ** (steps / 20.0)) ** 2
    squares[:4] = 0.0
    found = parting(steps, squares, np.full(len(steps), 1e-9), (squares > 0.0).astype(float))
    assert (found.parts_at_step, found.growth) == (20, "exponential")
    assert found.doubling_steps == pytest.approx(20.0)


def test_what_is_apart_by_rounding_alone_does_not_part() -> None:
    steps = np.arange(5)
    found = parting(steps, np.full(5, 1e-14), np.full(5, 1e-6), np.full(5, 0.3))
    assert (found.first_unequal_step, found.parts_at_step) == (0, None)


def test_snapshots_are_aligned_by_step_where_half_of_them_agree() -> None:
    a, b = np.arange(0, 100, 10), np.arange(0, 100, 5)
    finite = [np.ones(len(each), bool) for each in (a, b)]
    found = timeline([a, b], finite)
    assert (found.way, found.count) == ("step", 10)
    assert (b[found.indices[1]] == a[found.indices[0]]).all()


def test_snapshots_of_other_steps_are_aligned_by_progress() -> None:
    a, b = np.arange(0, 100, 10), np.arange(3, 1003, 100)
    found = timeline([a, b], [np.ones(10, bool)] * 2)
    assert (found.way, found.count) == ("progress", 10)
    with pytest.raises(KoopscopeError, match="no usable snapshot"):
        timeline([a, b], [np.ones(10, bool), np.zeros(10, bool)])


def test_picked_snapshots_have_the_products_of_those_alone() -> None:
    W = trajectory(size=50, snapshots=12)
    indices = np.array([1, 4, 5, 9, 11])
    found, true = picked(gram_of(W), indices), gram_of(W[indices])
    np.testing.assert_allclose(found.increments, true.increments, atol=1e-9)
    np.testing.assert_allclose(found.anchor_increments, true.anchor_increments, atol=1e-9)
    assert found.anchor_square == pytest.approx(true.anchor_square)
    assert found.snapshots == 5


def test_angles_and_cosines_of_motions_that_are_known() -> None:
    t = np.arange(6.0)
    one, other = np.zeros((6, 8)), np.zeros((6, 8))
    one[:, 0], other[:, 0], other[:, 1] = t, t, t
    one[:, 7] = other[:, 7] = 1.0
    found = motions(gram_of(np.concatenate([one, other])), 6, (5, 5), 1)
    assert found.angles_degrees == pytest.approx([45.0])
    assert found.displacement_cosine == pytest.approx(np.sqrt(0.5))
    assert found.final_distance == pytest.approx(5.0 / ((5.0 + 5.0 * np.sqrt(2.0)) / 2.0))
    ends = one[-1], other[-1]
    norms = [np.linalg.norm(end) for end in ends]
    assert found.final_cosine == pytest.approx(ends[0] @ ends[1] / np.prod(norms))
    middle = np.linalg.norm((ends[0] + ends[1]) / 2.0)
    assert found.midpoint_norm == pytest.approx(middle / np.mean(norms))


def test_groups_of_any_order_give_one_contrast() -> None:
    D = matrix(np.random.default_rng(3).standard_normal(6))
    for chosen in list(combinations(range(6), 3))[:5]:
        rest = [k for k in range(6) if k not in chosen]
        order = [*chosen, *rest]
        swapped = [*rest, *chosen]
        first = permutation_test(D[np.ix_(order, order)], 3)
        second = permutation_test(D[np.ix_(swapped, swapped)], 3)
        assert first.contrast == pytest.approx(second.contrast)
        assert first.p_value == second.p_value
