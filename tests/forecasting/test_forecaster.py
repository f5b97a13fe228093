"""Forecasts of recorded runs whose continuation is known."""

from __future__ import annotations

import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.forecasting.acceptance import accepted
from koopscope.forecasting.backtest import FORECAST
from koopscope.forecasting.baselines import LINE
from koopscope.forecasting.choices import OPERATORS
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.heldout import held_out_damping
from koopscope.spectra.law_of_motion import law_of_motion
from koopscope.spectra.series import Series
from tests.recorded import MLP, recorded, settling

SNAPSHOTS = 40
RATES = (0.95, 0.8)


def moving(shapes=MLP, snapshots=SNAPSHOTS, noise=0.0, seed=0, dtype=np.float64):
    """Return weights that decay towards a limit by RATES, with noise in every snapshot."""
    rng, disturbance = (np.random.default_rng([seed, k]) for k in range(2))
    t = np.arange(snapshots)
    found = {}
    for name, shape in shapes.items():
        limit, *modes = rng.standard_normal((1 + len(RATES), *shape))
        path = limit + sum(
            np.multiply.outer(rate**t, mode) for rate, mode in zip(RATES, modes, strict=True)
        )
        path += noise * disturbance.standard_normal(path.shape)
        found[name] = path.astype(dtype)
    return found


@pytest.fixture
def run(tmp_path):
    return recorded(tmp_path / "run.h5", moving())


def relative(found, true, now):
    """Return the distance of predicted from true weights, relative to no change."""
    off = sum(float(((found[n] - true[n]) ** 2).sum()) for n in true)
    return np.sqrt(off / sum(float(((now[n] - true[n]) ** 2).sum()) for n in true))


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_run_that_follows_a_law_is_carried_on(tmp_path, operator):
    weights = moving(snapshots=50)
    path = recorded(tmp_path / "run.h5", {n: w[:SNAPSHOTS] for n, w in weights.items()})
    made = koopscope.forecast(path, 49, operator=operator)
    now, true = ({n: w[t] for n, w in weights.items()} for t in (SNAPSHOTS - 1, 49))
    assert relative(made.weights, true, now) < 0.02
    assert made.forecast.is_trusted
    assert {n: w.shape for n, w in made.weights.items()} == MLP


def test_node_operators_of_the_weights_are_exact_on_their_own_law(run):
    made = koopscope.forecast(run, ahead=10, operator="node", observable="weights", rank=3, delay=1)
    weights = moving(snapshots=SNAPSHOTS + 10)
    now, true = ({n: w[t] for n, w in weights.items()} for t in (SNAPSHOTS - 1, SNAPSHOTS + 9))
    assert relative(made.weights, true, now) < 1e-4


def test_each_node_has_the_law_of_its_weights_and_bias(tmp_path):
    weights = moving({"a.weight": (3, 4), "a.bias": (3,)}, noise=0.05)
    path = recorded(tmp_path / "run.h5", weights)
    made = koopscope.forecast(path, ahead=4, operator="node", beyond_trust=True, delay=1)
    last = {n: w[-20:].reshape(20, 3, -1) for n, w in weights.items()}
    rows = np.concatenate([last["a.weight"], last["a.bias"]], axis=2)
    layer = gram_of(rows.reshape(20, -1))
    damping = held_out_damping(Series.of(layer, "increments"))
    for node in range(3):
        law = law_of_motion(gram_of(rows[:, node]), damping=damping)
        moved = law.coefficients([4.0]).T @ np.diff(rows[:, node], axis=0)
        found = np.append(made.weights["a.weight"][node], made.weights["a.bias"][node])
        np.testing.assert_allclose(found, rows[-1, node] + moved[0], rtol=1e-9)


def test_nodes_of_a_keras_kernel_are_its_last_axis(tmp_path):
    torch_like = moving({"a.weight": (3, 4), "a.bias": (3,)}, noise=0.02)
    keras_like = {
        "a/bias": torch_like["a.bias"],  # before its kernel, as names are sorted
        "a/kernel": torch_like["a.weight"].swapaxes(1, 2),
    }
    paths = [recorded(tmp_path / f"{k}.h5", w) for k, w in enumerate((torch_like, keras_like))]
    one, other = (
        koopscope.forecast(p, ahead=3, operator="node", beyond_trust=True).weights for p in paths
    )
    np.testing.assert_allclose(other["a/kernel"].T, one["a.weight"], rtol=1e-9)
    np.testing.assert_allclose(other["a/bias"], one["a.bias"], rtol=1e-9)


def test_the_backtest_is_what_forecasting_from_the_past_gives(tmp_path):
    weights = moving({"w": (30, 8)}, noise=0.02)
    found = koopscope.forecast(recorded(tmp_path / "run.h5", weights), ahead=5).forecast
    rows = weights["w"].reshape(SNAPSHOTS, -1)
    for o, origin in enumerate(found.backtest.origins):
        window = rows[origin + 1 - 20 : origin + 1]
        law = law_of_motion(gram_of(window), delay=2)
        for k, horizon in enumerate(found.backtest.horizons):
            if origin + horizon >= SNAPSHOTS:
                assert np.isnan(found.backtest.errors[FORECAST][o, k])
                continue
            moved = law.coefficients([float(horizon)])[:, 0] @ np.diff(window, axis=0)
            true = rows[origin + horizon] - rows[origin]
            error = np.linalg.norm(moved - true) / np.linalg.norm(true)
            assert found.backtest.errors[FORECAST][o, k] == pytest.approx(error, rel=1e-6)
            mean = (window[-1] - window[-1 - LINE]) / LINE * horizon
            line = np.linalg.norm(mean - true) / np.linalg.norm(true)
            assert found.backtest.errors["straight line"][o, k] == pytest.approx(line, rel=1e-6)


@pytest.mark.parametrize("rule", ["sign", "pdt"])
def test_only_accepted_weights_jump(tmp_path, rule):
    weights = moving(noise=0.003)
    path = recorded(tmp_path / "run.h5", weights)
    free, some = (
        koopscope.forecast(path, ahead=6, accept=accept, beyond_trust=True).weights
        for accept in ("none", rule)
    )
    jumped = 0
    for name, course in weights.items():
        now = course[-1]
        moves = accepted(rule, free[name] - now, now - course[-2], 6.0)
        np.testing.assert_array_equal(some[name], np.where(moves, free[name], now))
        jumped += int(moves.sum())
    assert 0 < jumped < sum(course[0].size for course in weights.values())


def test_what_came_is_told_where_the_run_went_on(run):
    made = koopscope.forecast(run, 30, until=25)
    weights = moving()
    now, true = ({n: w[t] for n, w in weights.items()} for t in (25, 30))
    assert made.forecast.actual == pytest.approx(relative(made.weights, true, now), rel=1e-6)
    assert koopscope.forecast(run, ahead=2).forecast.actual is None


def test_a_forecast_until_a_step_does_not_know_what_came_after(tmp_path, run):
    changed = moving()
    for weights in changed.values():
        weights[26:] = 3.0 * weights[26:][::-1] - 1.0
    other_run = recorded(tmp_path / "other.h5", changed)
    until, other = (koopscope.forecast(path, 30, until=25) for path in (run, other_run))
    for name in MLP:
        np.testing.assert_array_equal(until.weights[name], other.weights[name])
    np.testing.assert_array_equal(
        until.forecast.backtest.errors[FORECAST], other.forecast.backtest.errors[FORECAST]
    )


def test_a_forecast_until_a_step_is_that_of_a_run_that_ends_there(tmp_path, run):
    """To rounding: a product of more snapshots may be added up in another order."""
    early = {n: w[:26] for n, w in moving().items()}
    cut = koopscope.forecast(recorded(tmp_path / "cut.h5", early), 30)
    until = koopscope.forecast(run, 30, until=25)
    for name in MLP:
        np.testing.assert_allclose(until.weights[name], cut.weights[name], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        until.forecast.backtest.errors[FORECAST],
        cut.forecast.backtest.errors[FORECAST],
        rtol=1e-12,
        atol=1e-13,
    )


def test_pooled_snapshots_are_carried_on_from_their_mean(tmp_path):
    weights = moving(snapshots=120, noise=0.05)
    path = recorded(tmp_path / "run.h5", weights)
    now, true = ({n: w[t] for n, w in moving(snapshots=120).items()} for t in (99, 110))
    made = {
        every: koopscope.forecast(path, 110, until=99, every=every, beyond_trust=True).weights
        for every in (1, 5)
    }
    assert relative(made[5], true, now) < relative(made[1], true, now)


def test_frozen_and_excluded_tensors_stay(tmp_path):
    weights = moving()
    weights["norm.weight"][:] = weights["norm.weight"][0]
    made = koopscope.forecast(recorded(tmp_path / "r.h5", weights), ahead=5, exclude="head.*")
    for name in ("norm.weight", "head.weight", "head.bias"):
        np.testing.assert_array_equal(made.weights[name], weights[name][-1])
    assert any("never moved: norm.weight" in note for note in made.forecast.notes)
    assert any("2 tensors are not forecast" in note for note in made.forecast.notes)


def test_a_run_of_nothing_but_frozen_weights_cannot_be_tested_nor_trusted(tmp_path):
    still = {"w": np.ones((30, 4))}
    path = recorded(tmp_path / "run.h5", still)
    with pytest.raises(KoopscopeError, match="cannot tell"):
        koopscope.forecast(path, ahead=3)
    made = koopscope.forecast(path, ahead=3, beyond_trust=True)
    np.testing.assert_array_equal(made.weights["w"], 1.0)


def test_growth_is_refused_held_or_extrapolated(tmp_path):
    t = np.arange(45)
    growing = {"w": np.multiply.outer(1.15**t, np.ones(20)) + np.ones(20)}
    path = recorded(tmp_path / "run.h5", growing)
    with pytest.raises(KoopscopeError, match=r"would grow 4\.0.-fold") as refusal:
        koopscope.forecast(path, ahead=10)
    assert "--allow-growth" in refusal.value.hint
    free = koopscope.forecast(path, ahead=10, allow_growth=True, rank=1, delay=1)
    np.testing.assert_allclose(free.weights["w"], 1.15**54 + 1, rtol=0.01)
    near = koopscope.forecast(path, ahead=2, beyond_trust=True)
    assert near.forecast.growth.modes == 1
    assert any("held at constant speed" in note for note in near.forecast.notes)


@pytest.mark.parametrize("operator", ["layer", "node"])
def test_growth_is_judged_over_the_whole_network(tmp_path, operator):
    t = np.arange(45)
    weights = {
        "small.weight": 1e-6 * np.multiply.outer(1.15**t, np.ones((2, 3))),
        "large.weight": np.multiply.outer(0.9**t, np.ones((4, 5))),
    }
    path = recorded(tmp_path / "run.h5", weights)
    assert koopscope.forecast(path, ahead=10, operator=operator).weights
    weights["small.weight"] *= 1e6
    path = recorded(tmp_path / "large.h5", weights)
    with pytest.raises(KoopscopeError, match="the motion grows"):
        koopscope.forecast(path, ahead=10, operator=operator)


def test_noise_is_not_trusted_and_said_to_be_none(tmp_path):
    noise = {"w": np.random.default_rng(0).standard_normal((60, 400)).cumsum(axis=0)}
    path = recorded(tmp_path / "run.h5", noise)
    with pytest.raises(KoopscopeError, match="cannot be trusted") as refusal:
        koopscope.forecast(path, ahead=10, rank=-1)
    assert "--beyond-trust" in refusal.value.hint
    assert not koopscope.forecast(path, ahead=10, rank=-1, beyond_trust=True).forecast.is_trusted


def test_a_verdict_on_a_near_step_does_not_contradict_the_far_ones(tmp_path):
    """Motion that turns back every few snapshots can be told for one or two of them."""
    t = np.arange(60)
    turning = np.where(t % 16 < 8, t % 16, 16 - t % 16)[:, None] * np.ones(30)
    turning += 0.05 * np.random.default_rng(0).standard_normal(turning.shape)
    path = recorded(tmp_path / "run.h5", {"w": turning})
    found = koopscope.forecast(path, ahead=1, rank=1, delay=1, beyond_trust=True).forecast
    assert found.is_trusted
    assert found.trusted_step is None
    assert found.verdict.startswith("Step 60 can be trusted, no far later one: 1 snapshot ahead, ")


def test_a_horizon_that_no_past_moment_tests_is_refused(run):
    with pytest.raises(KoopscopeError, match="no past moment tests it"):
        koopscope.forecast(run, 1000)


def test_a_few_snapshots_give_a_forecast_but_no_trust(tmp_path):
    path = recorded(tmp_path / "run.h5", settling(MLP, snapshots=5))
    with pytest.raises(KoopscopeError, match="too short to test"):
        koopscope.forecast(path, ahead=1)
    assert koopscope.forecast(path, ahead=1, beyond_trust=True).weights


def test_snapshots_that_are_not_finite_bound_what_is_looked_at(tmp_path):
    weights = moving()
    weights["head.bias"][3] = np.nan
    path = recorded(tmp_path / "early.h5", weights)
    found = koopscope.forecast(path, ahead=3, snapshots=10).forecast
    assert found.plan.steps[0] == 4
    weights["head.bias"][-1] = np.inf
    path = recorded(tmp_path / "late.h5", weights)
    with pytest.raises(KoopscopeError, match="step 39 holds weights that are not finite"):
        koopscope.forecast(path, ahead=3)
    assert koopscope.forecast(path, ahead=3, until=38, snapshots=10).forecast.is_trusted


def test_weights_come_back_in_the_run_s_dtype(tmp_path):
    for dtype in (np.float16, np.float32, np.float64):
        path = recorded(tmp_path / f"{np.dtype(dtype).name}.h5", moving(dtype=dtype))
        weights = koopscope.forecast(path, ahead=2, beyond_trust=True).weights
        assert {w.dtype for w in weights.values()} == {np.dtype(dtype)}


def test_buffers_are_kept_as_recorded(tmp_path):
    weights = moving()
    weights["norm.running_mean"] = np.multiply.outer(np.arange(SNAPSHOTS, dtype=float), np.ones(5))
    made = koopscope.forecast(recorded(tmp_path / "run.h5", weights), ahead=3)
    np.testing.assert_array_equal(
        made.weights["norm.running_mean"], weights["norm.running_mean"][-1]
    )


def test_unknown_options_and_no_target_are_refused(run):
    with pytest.raises(KoopscopeError, match="'speed'"):
        koopscope.forecast(run, 50, speed=3)
    with pytest.raises(KoopscopeError, match="how far"):
        koopscope.forecast(run)
