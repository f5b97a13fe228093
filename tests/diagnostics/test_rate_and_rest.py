"""Learning rates that are wrong by a known factor; plateaus, rest and waste on known paths."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.diagnostics import learning_rate, plateau, rest, stability, wasted
from koopscope.diagnostics.diagnosis import diagnose
from koopscope.diagnostics.finding import Finding
from koopscope.gate.judgement import judge
from koopscope.gate.policy import policy
from tests.small_training import Training, analysed

RUNS = Path(__file__).parents[2] / "sample_runs"
COUNT = 60
RIGHT = {"sgd": 0.1, "adam": 3e-3}


def paths(*kinds: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Layers that go straight on, bounce about a point, settle, stop, or never move."""
    rng = np.random.default_rng(seed)
    t = np.arange(COUNT)
    found = {}
    for index, kind in enumerate(kinds):
        start, way = rng.standard_normal((2, 8, 6))
        noise = rng.standard_normal((COUNT, 8, 6))
        along = {
            "straight": 0.02 * t,
            "bouncing": 1.0 - np.exp(-t / 5.0),
            "settling": 1.0 - np.exp(-t / 6.0),
            "stopping": np.minimum(t, 20) / 20.0,
            "frozen": 0.0 * t,
        }[kind]
        moved = along[:, None, None] * way
        if kind == "bouncing":
            moved = moved + 0.1 * noise * np.minimum(1.0, t / 10.0)[:, None, None]
        found[f"{index}.{kind}.weight"] = start + moved
    return found


def flat_after(part: float, noise: float = 0.0) -> np.ndarray:
    scatter = noise * np.random.default_rng(3).standard_normal(COUNT)
    return 2.0 * np.exp(-np.arange(COUNT) / (part * COUNT / 8.0)) + scatter


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_hundredth_of_the_rate_is_too_low_and_says_by_how_much(optimizer: str) -> None:
    """It was once a 'bad start', with a mean cosine of 1.00 and no word of raising the rate."""
    found = learning_rate.ask(Training(optimizer, rate=0.01 * RIGHT[optimizer]).run().analysis())
    assert (found.status, found.evidence["state"]) == ("fail", "too low")
    assert found.action.do == "raise_lr"
    low, high = found.action.factor_range
    assert low <= 30.0
    assert high >= 10.0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_rate_that_suits_is_about_right(optimizer: str) -> None:
    for seed in range(3):
        run = Training(optimizer, rate=RIGHT[optimizer], every=8, seed=seed).run()
        assert learning_rate.ask(run.analysis()).status == "pass"


def test_adam_at_thirty_times_the_rate_that_learned_all_the_same_is_not_failed() -> None:
    """It was once failed as 'thrown out' with 98% accuracy."""
    run = Training("adam", rate=30 * RIGHT["adam"], every=8).run()
    assert run.metrics["val_accuracy"][-1] > 0.9
    assert learning_rate.ask(run.analysis()).status == "pass"


def test_adam_at_a_hundred_times_the_rate_that_learned_is_not_failed_as_thrown_out() -> None:
    run = Training("adam", rate=100 * RIGHT["adam"], every=8).run()
    assert run.metrics["val_accuracy"][-1] > 0.9
    analysis = run.analysis()
    found = stability.ask(analysis)
    assert (found.status, found.evidence["state"]) == ("info", "blown up")
    assert "the recorded loss fell all the same" in found.message
    assert stability.ask(run.analysis(metrics=())).status == "fail"


def test_plain_descent_at_a_hundred_times_the_rate_does_not_pass_the_gate() -> None:
    """At 52% accuracy it was once a 'healthy start', and the gate passed."""
    run = Training(rate=100 * RIGHT["sgd"], every=8).run()
    assert run.metrics["val_accuracy"][-1] < 0.6
    judged = judge(diagnose(run.analysis()), policy({}, "test"))
    failed = {outcome.id for outcome in judged.outcomes if outcome.verdict == "error"}
    assert {"learning-rate", "stability"} <= failed


def test_a_rate_that_ruins_a_run_fails_in_words() -> None:
    found = koopscope.analyze(RUNS / "lr_too_high.h5").finding("learning-rate")
    assert (found.status, found.action.do) == ("fail", "lower_lr")
    low, high = found.action.factor_range
    assert low <= 0.1 / 0.9 <= high  # the rate that learned, over the one that did not
    assert found.criterion.found in found.message
    assert "%" in found.criterion.expected


def test_a_schedule_that_ended_is_told_from_learning_that_ended() -> None:
    found = koopscope.analyze(RUNS / "cosine_schedule.h5").finding("learning-rate")
    assert (found.status, found.evidence["state"]) == ("info", "schedule ended")
    assert found.message.startswith("The schedule ended, not the learning")


@pytest.mark.parametrize(("offset", "scale"), [(-1.0, 1.0), (-20.0, 0.01), (5.0, 1e4)])
@pytest.mark.parametrize("factor", [0.01, 1.0, 10.0])
def test_no_verdict_depends_on_the_zero_or_the_unit_of_a_loss(
    factor: float, offset: float, scale: float
) -> None:
    run = Training(rate=factor * RIGHT["sgd"], every=8).run()
    plain = run.analysis()
    for name in ("loss", "val_loss"):
        run.metrics[name] = [offset + scale * value for value in run.metrics[name]]
    turned = run.analysis()
    for rule in (learning_rate, plateau, wasted):
        ours, theirs = rule.ask(plain), rule.ask(turned)
        assert (ours.status, ours.evidence["state"]) == (theirs.status, theirs.evidence["state"])
        assert ours.action.plain() == theirs.action.plain()


def test_a_flat_loss_while_the_weights_bounce_is_a_plateau() -> None:
    metrics = {"loss": flat_after(0.4, noise=0.01)}
    found = plateau.ask(analysed(paths("bouncing", "bouncing"), metrics))
    assert (found.status, found.evidence["state"]) == ("warn", "plateau")
    assert found.action.do == "lower_lr"


def test_a_flat_loss_while_the_weights_settle_is_none() -> None:
    metrics = {"loss": flat_after(0.4, noise=0.01)}
    found = plateau.ask(analysed(paths("settling", "settling"), metrics))
    assert (found.status, found.evidence["state"]) == ("pass", "at rest")


def test_a_flat_loss_while_the_weights_go_straight_on_may_be_left() -> None:
    found = plateau.ask(analysed(paths("straight"), {"loss": flat_after(0.4)}))
    assert (found.status, found.evidence["state"]) == ("info", "on the way")
    assert found.action.do == "none"


def test_a_loss_that_falls_or_rises_is_no_plateau() -> None:
    t = np.arange(COUNT)
    for loss, state in ((2.0 - 0.02 * t, "progress"), (flat_after(0.2) + 0.02 * t, "rising")):
        found = plateau.ask(analysed(paths("bouncing"), {"loss": loss}))
        assert found.evidence["state"] == state
        assert found.status in ("pass", "info")


def test_layers_at_rest_are_named_with_the_step_since_when() -> None:
    found = rest.ask(analysed(paths("straight", "stopping", "settling", "frozen"), every=10))
    resting = {each["layer"]: each for each in found.evidence["resting"]}
    assert resting["1.stopping"] == {"layer": "1.stopping", "why": "stopped", "since": 200}
    assert resting["2.settling"]["why"] == "at rest"
    assert resting["2.settling"]["since"] == pytest.approx(10 * 6 * math.log(20.0), abs=20)
    assert resting["3.frozen"]["why"] == "frozen"
    assert found.evidence["moving"] == ["0.straight"]
    assert found.action.do == "freeze"
    assert found.action.layers == ("1.stopping", "2.settling")
    assert "3.frozen never changed: frozen, it seems on purpose" in found.message


def test_layers_at_rest_because_the_rate_went_down_are_not_to_be_frozen() -> None:
    rates = np.where(np.arange(COUNT) < 25, 1.0, 0.01)
    found = rest.ask(analysed(paths("settling", "straight"), {"lr": rates}))
    assert found.evidence["state"] == "schedule ended"
    assert found.action.do == "none"


def after(finding: Finding | None, loss: np.ndarray | None) -> Finding:
    metrics = {} if loss is None else {"loss": loss}
    earlier = {} if finding is None else {"convergence": finding}
    return wasted.ask_after(analysed(paths("settling"), metrics, every=10), earlier)


def converged(stop: int | None) -> Finding:
    from koopscope.diagnostics.convergence import DIAGNOSTIC, ConvergenceEvidence

    return DIAGNOSTIC.finding("pass", "made", ConvergenceEvidence("converged", stop_step=stop))


def test_what_came_after_the_stop_is_wasted_where_nothing_was_gained_since() -> None:
    found = after(converged(150), flat_after(0.2))
    assert (found.status, found.evidence["state"]) == ("warn", "wasted")
    assert found.evidence["useful_until"] == 150
    assert found.value == pytest.approx(1.0 - 150 / 590)
    assert (found.action.do, found.action.step) == ("stop", 150)


def test_a_stop_after_which_the_loss_still_fell_is_not_believed() -> None:
    found = after(converged(150), 2.0 - 0.02 * np.arange(COUNT))
    assert found.status == "pass"
    assert found.evidence["useful_until"] > 500


def test_without_a_stop_nothing_was_wasted_and_without_a_loss_the_stop_counts() -> None:
    assert after(converged(None), flat_after(0.2)).value == 0.0
    alone = after(converged(150), None)
    assert alone.status == "warn"
    assert "weights alone" in alone.message
    assert after(None, None).status == "inconclusive"


@pytest.mark.parametrize("rule", [learning_rate, plateau, rest, wasted])
def test_few_snapshots_cannot_tell(rule) -> None:
    few = {name: values[:5] for name, values in paths("straight").items()}
    found = rule.ask(analysed(few, {"loss": np.linspace(1.0, 0.5, 5)}))
    assert (found.status, found.action.do) == ("inconclusive", "record_more")


@pytest.mark.parametrize("rule", [learning_rate, plateau, rest])
def test_weights_that_never_move_cannot_tell(rule) -> None:
    found = rule.ask(analysed(paths("frozen"), {"loss": flat_after(0.4)}))
    assert found.status == "inconclusive"
