"""Scores are what the formulas say, computed here from whole matrices."""

from dataclasses import replace

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.pruning.criteria import CRITERIA, criterion
from koopscope.pruning.judging import PruningSettings, judge
from koopscope.runs.detect.opening import open_run
from tests.recorded import recorded, settling


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(3)
    limit, slow, fast = rng.standard_normal((3, 8, 10))
    t = np.arange(14)
    moving = np.multiply.outer(0.9**t, slow) + np.multiply.outer(0.5**t, fast)
    path = recorded(tmp_path / "run.h5", {"w": limit + moving})
    with open_run(path) as opened:
        yield opened, limit, slow, fast


def scored(run, name, at=None, **settings):
    judgement = judge(run, PruningSettings(criterion=name, at=at, **settings))
    found = criterion(name, judgement.analysis)
    (block,) = run.blocks()
    return found, found.scores("w", 0, block.values).reshape(8, 10)


def proportional(one, other):
    return abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) > 1 - 1e-9


def test_the_koopman_magnitude_ranks_by_the_limit_the_run_has_not_reached(run):
    opened, limit, _, _ = run
    found, scores = scored(opened, "koopman-magnitude", at=6)
    assert abs(found.mode.eigenvalue - 1.0) < 1e-9
    assert found.mode.rank == 3
    assert found.mode.residual < 1e-6
    assert proportional(scores, np.abs(limit))


def test_the_forecast_magnitude_is_the_limit_itself(run):
    opened, limit, _, _ = run
    _, scores = scored(opened, "forecast-magnitude", at=6)
    np.testing.assert_allclose(scores, np.abs(limit), rtol=1e-6, atol=1e-7)


def test_the_koopman_gradient_is_the_limit_times_the_step_still_to_come(run):
    opened, limit, slow, fast = run
    _, scores = scored(opened, "koopman-gradient", at=6)
    step = (0.9 - 1.0) * 0.9**6 * slow + (0.5 - 1.0) * 0.5**6 * fast
    assert proportional(scores, np.abs(limit * step))


def test_magnitude_and_gradient_magnitude_are_of_the_judged_snapshot(run):
    opened, *_ = run
    (block,) = opened.blocks()
    w = block.values.copy().reshape(14, 8, 10)
    np.testing.assert_array_equal(scored(opened, "magnitude", at=6)[1], np.abs(w[6]))
    np.testing.assert_allclose(
        scored(opened, "gradient-magnitude", at=6)[1], np.abs(w[6] * (w[6] - w[5]))
    )


def test_random_scores_do_not_depend_on_how_a_tensor_is_cut(run):
    opened, *_ = run
    found = criterion("random", judge(opened, PruningSettings()).analysis, seed=4)
    whole = found.scores("w", 0, np.zeros((14, 80)))
    for start, stop in ((0, 3), (3, 11), (11, 80)):
        part = found.scores("w", start, np.zeros((14, stop - start)))
        np.testing.assert_array_equal(part, whole[start:stop])
    other = replace(found, seed=5).scores("w", 0, np.zeros((14, 80)))
    assert len(set(whole)) == 80
    assert not set(whole) & set(other)


def test_where_the_nearest_mode_turns_weights_are_ranked_by_all_of_it(tmp_path):
    rng = np.random.default_rng(5)
    mode = rng.standard_normal((60, 2)) @ [1.0, 1j]
    turning = (np.exp(0.05j * np.arange(20))[:, None] * mode).real
    with open_run(recorded(tmp_path / "run.h5", {"w": turning.reshape(20, 6, 10)})) as opened:
        analysis = judge(opened, PruningSettings(rank=2)).analysis
        found = criterion("koopman-magnitude", analysis)
        (block,) = opened.blocks()
        scores = found.scores("w", 0, block.values)
        (modes,) = analysis.modes(opened)
    assert found.mode.eigenvalue.imag != 0.0
    np.testing.assert_allclose(scores, np.abs(modes.values[:, found.mode.index]))


def test_a_weight_that_is_not_a_number_scores_nothing(run):
    opened, *_ = run
    found = criterion("magnitude", judge(opened, PruningSettings()).analysis)
    values = np.ones((14, 3))
    values[-1, 1] = np.nan
    np.testing.assert_array_equal(found.scores("w", 0, values), [1.0, 0.0, 1.0])


def test_without_a_mode_near_one_the_error_says_how_far_the_nearest_is(tmp_path):
    mode = np.random.default_rng(0).standard_normal((6, 10))
    swinging = np.multiply.outer((-0.9) ** np.arange(8), mode)
    with open_run(recorded(tmp_path / "run.h5", {"w": swinging})) as opened:
        analysis = judge(opened, PruningSettings(rank=1)).analysis
        with pytest.raises(KoopscopeError, match=r"no mode .* the nearest is 0\.21 away") as error:
            criterion("koopman-magnitude", analysis)
        assert "--criterion magnitude" in error.value.hint


def test_weights_that_never_moved_have_no_mode_of_rest(tmp_path):
    still = np.ones((8, 1, 1)) * np.arange(1.0, 41.0).reshape(5, 8)
    with open_run(recorded(tmp_path / "run.h5", {"w": still})) as opened:
        analysis = judge(opened, PruningSettings()).analysis
        assert criterion("forecast-magnitude", analysis).scores("w", 0, still.reshape(8, -1))[
            -1
        ] == pytest.approx(40.0)
        for name in ("koopman-magnitude", "koopman-gradient"):
            with pytest.raises(KoopscopeError, match="nothing moved"):
                criterion(name, analysis)


@pytest.mark.parametrize(
    ("name", "snapshots"),
    [
        ("koopman-magnitude", 2),
        ("koopman-gradient", 2),
        ("forecast-magnitude", 2),
        ("gradient-magnitude", 1),
    ],
)
def test_a_run_too_short_is_refused_with_the_number_it_takes(tmp_path, name, snapshots):
    path = recorded(tmp_path / "run.h5", settling({"w": (4, 5)}, snapshots))
    with open_run(path) as opened:
        analysis = judge(opened, PruningSettings()).analysis
        with pytest.raises(KoopscopeError, match=f"^{snapshots} usable snapshots? ") as error:
            criterion(name, analysis)
        assert f"it takes {snapshots + 1}" in error.value.hint


def test_an_unknown_criterion_is_answered_with_the_known_ones(run):
    opened, *_ = run
    with pytest.raises(KoopscopeError, match="'l1'") as error:
        criterion("l1", judge(opened, PruningSettings()).analysis)
    assert all(name in error.value.hint for name in CRITERIA)


def test_any_seed_gives_random_scores(tmp_path):
    run = recorded(tmp_path / "run.h5", settling({"a.weight": (4, 5)}))
    masks = [koopscope.prune(run, 0.5, criterion="random", seed=seed) for seed in (1, 10**30)]
    kept = [found.masks["a.weight"] for found in masks]
    assert kept[0].sum() == kept[1].sum() == 10
    assert (kept[0] != kept[1]).any()
