"""Scores are what the formulas say, computed here from whole matrices."""

from dataclasses import replace

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.criteria import CRITERIA, criterion
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
    basis = pruning_basis(run, PruningSettings(criterion=name, at=at, **settings))
    found = criterion(name, basis.analysis)
    (block,) = run.blocks()
    return found, found.scores("w", 0, block.values).reshape(8, 10)


def proportional(one, other):
    return abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) > 1 - 1e-9


def test_the_koopman_magnitude_ranks_by_the_limit_the_run_has_not_reached(run):
    opened, limit, _, _ = run
    found, scores = scored(opened, "koopman-magnitude", at=6)
    assert found.mode.is_approached
    assert found.mode.fastest == pytest.approx(0.9, abs=1e-6)
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
    found = criterion("random", pruning_basis(opened, PruningSettings()).analysis, seed=4)
    whole = found.scores("w", 0, np.zeros((14, 80)))
    for start, stop in ((0, 3), (3, 11), (11, 80)):
        part = found.scores("w", start, np.zeros((14, stop - start)))
        np.testing.assert_array_equal(part, whole[start:stop])
    other = replace(found, seed=5).scores("w", 0, np.zeros((14, 80)))
    assert len(set(whole)) == 80
    assert not set(whole) & set(other)


def test_weights_that_swing_are_ranked_by_what_they_swing_about(tmp_path):
    rng = np.random.default_rng(5)
    mode = rng.standard_normal((60, 2)) @ [1.0, 1j]
    centre = rng.standard_normal(60)
    turning = centre + ((0.98 * np.exp(0.5j)) ** np.arange(20)[:, None] * mode).real
    with open_run(recorded(tmp_path / "run.h5", {"w": turning.reshape(20, 6, 10)})) as opened:
        analysis = pruning_basis(opened, PruningSettings(rank=3)).analysis
        found = criterion("koopman-magnitude", analysis)
        (block,) = opened.blocks()
        scores = found.scores("w", 0, block.values)
        (modes,) = analysis.modes(opened)
    np.testing.assert_allclose(scores, np.abs(modes.values[:, found.mode.index]), rtol=1e-9)
    assert proportional(scores, np.abs(centre))


def test_the_koopman_magnitude_is_the_mode_of_the_raw_weights(run):
    """The papers' own: DMD of w itself, the mode whose eigenvalue is nearest 1."""
    opened, *_ = run
    _, scores = scored(opened, "koopman-magnitude", at=6)
    (block,) = opened.blocks()
    X, Y = block.values[:6].T.astype(float), block.values[1:7].T.astype(float)
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    U, S, Vt = U[:, :3], S[:3], Vt[:3]
    values, vectors = np.linalg.eig(U.T @ Y @ Vt.T / S)
    nearest = np.abs(values - 1.0).argmin()
    assert abs(values[nearest] - 1.0) < 1e-6
    assert proportional(scores, np.abs(Y @ Vt.T / S @ vectors[:, nearest]))


def test_the_destination_is_where_the_law_of_the_increments_leads(run):
    opened, limit, slow, _ = run
    _, scores = scored(opened, "destination", at=13)
    np.testing.assert_allclose(scores, np.abs(limit + 0.9**33 * slow), atol=0.02)


def test_a_straight_line_is_followed_to_where_it_leads(tmp_path):
    rng = np.random.default_rng(1)
    start, step = rng.standard_normal((2, 5, 8))
    line = start + np.multiply.outer(np.arange(9), 0.1 * step)
    with open_run(recorded(tmp_path / "run.h5", {"w": line})) as opened:
        _, scores = (
            found := criterion("destination", pruning_basis(opened, PruningSettings()).analysis),
            found.scores("w", 0, line.reshape(9, -1)),
        )
    np.testing.assert_allclose(scores.reshape(5, 8), np.abs(line[-1] + 2.0 * step), atol=0.05)


def test_a_weight_that_is_not_a_number_scores_nothing(run):
    opened, *_ = run
    found = criterion("magnitude", pruning_basis(opened, PruningSettings()).analysis)
    values = np.ones((14, 3))
    values[-1, 1] = np.nan
    np.testing.assert_array_equal(found.scores("w", 0, values), [1.0, 0.0, 1.0])


def test_weights_that_drift_have_no_resting_place(tmp_path):
    start, step = np.random.default_rng(0).standard_normal((2, 6, 10))
    drifting = start + np.multiply.outer(np.arange(8), step)
    with open_run(recorded(tmp_path / "run.h5", {"w": drifting})) as opened:
        analysis = pruning_basis(opened, PruningSettings(rank=-1)).analysis
        with pytest.raises(KoopscopeError, match=r"no resting place .* they drift") as error:
            criterion("koopman-magnitude", analysis)
        assert "--criterion magnitude" in error.value.hint


def test_a_fixed_point_that_is_left_is_said_to_be(tmp_path):
    away = np.random.default_rng(0).standard_normal((6, 10))
    growing = 1.0 + np.multiply.outer(1.2 ** np.arange(8), away)
    with open_run(recorded(tmp_path / "run.h5", {"w": growing})) as opened:
        found = criterion(
            "koopman-magnitude", pruning_basis(opened, PruningSettings(rank=2)).analysis
        )
    assert not found.mode.is_approached
    assert found.mode.fastest == pytest.approx(1.2, abs=1e-6)


def test_weights_that_never_moved_have_no_mode_of_rest(tmp_path):
    still = np.ones((8, 1, 1)) * np.arange(1.0, 41.0).reshape(5, 8)
    with open_run(recorded(tmp_path / "run.h5", {"w": still})) as opened:
        analysis = pruning_basis(opened, PruningSettings()).analysis
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
        ("destination", 2),
        ("gradient-magnitude", 1),
    ],
)
def test_a_run_too_short_is_refused_with_the_number_it_takes(tmp_path, name, snapshots):
    path = recorded(tmp_path / "run.h5", settling({"w": (4, 5)}, snapshots))
    with open_run(path) as opened:
        analysis = pruning_basis(opened, PruningSettings()).analysis
        with pytest.raises(KoopscopeError, match=f"^{snapshots} usable snapshots? ") as error:
            criterion(name, analysis)
        assert f"it takes {snapshots + 1}" in error.value.hint


def test_an_unknown_criterion_is_answered_with_the_known_ones(run):
    opened, *_ = run
    with pytest.raises(KoopscopeError, match="'l1'") as error:
        criterion("l1", pruning_basis(opened, PruningSettings()).analysis)
    assert all(name in error.value.hint for name in CRITERIA)


def test_any_seed_gives_random_scores(tmp_path):
    run = recorded(tmp_path / "run.h5", settling({"a.weight": (4, 5)}))
    masks = [koopscope.prune(run, 0.5, criterion="random", seed=seed) for seed in (1, 10**30)]
    kept = [found.masks["a.weight"] for found in masks]
    assert kept[0].sum() == kept[1].sum() == 10
    assert (kept[0] != kept[1]).any()


def test_masks_are_a_mapping_and_still_have_a_field_of_that_name(tmp_path):
    run = recorded(tmp_path / "run.h5", settling({"a.weight": (8, 5), "b.weight": (3, 8)}))
    found = koopscope.prune(run, 0.5)
    assert list(found) == ["a.weight", "b.weight"]
    assert len(found) == 2
    assert "c.weight" not in found
    for name, mask in found.items():
        assert mask is found.masks[name]
    with pytest.raises(KeyError):
        found["c.weight"]


@pytest.mark.parametrize(("name", "used"), [("magnitude", 1), ("gradient-magnitude", 2)])
def test_a_criterion_tells_how_many_snapshots_it_rests_on(run, name, used):
    opened, *_ = run
    analysis = pruning_basis(opened, PruningSettings()).analysis
    assert criterion(name, analysis).snapshots_used == used
    assert criterion("random", analysis).snapshots_used == 0
    assert criterion("destination", analysis).snapshots_used > 2
