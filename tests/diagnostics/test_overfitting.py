"""Over-fitting on curves whose rise is known, and on networks that are really trained."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.diagnostics import overfitting
from tests.small_training import Training, analysed

COUNT = 60


def curves(val: np.ndarray, loss: np.ndarray | None = None, **options: object):
    rng = np.random.default_rng(0)
    path = rng.standard_normal((len(val), 4, 3)).cumsum(axis=0)
    metrics = {"val_loss": val} | ({} if loss is None else {"loss": loss})
    return analysed({"l.weight": path}, metrics, **options)


def falling(count: int = COUNT) -> np.ndarray:
    return 2.0 * np.exp(-np.arange(count) / 8.0)


def rising_after(best: int, slope: float = 0.02, noise: float = 0.0) -> np.ndarray:
    t = np.arange(COUNT)
    curve = falling() + slope * np.maximum(t - best, 0)
    return curve + noise * np.random.default_rng(1).standard_normal(COUNT)


def test_a_rise_is_named_with_the_step_to_go_back_to() -> None:
    found = overfitting.ask(curves(rising_after(25), falling()))
    evidence = found.evidence
    assert found.status == "fail"
    assert evidence["state"] == "overfitting"
    assert abs(evidence["best_step"] - 25) <= 3
    assert found.action.do == "restore"
    assert found.action.step == evidence["best_step"]
    assert f"Over-fitting since step {evidence['best_step']}" in found.message
    low, high = evidence["rise_interval"]
    assert low <= evidence["rise"] <= high


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (-1.0, 1.0), (-50.0, 0.01), (7.0, 1e6)])
def test_the_loss_may_have_any_zero_and_unit(offset: float, scale: float) -> None:
    val, loss = rising_after(25, noise=0.01), falling()
    plain = overfitting.ask(curves(val, loss))
    turned = overfitting.ask(curves(offset + scale * val, offset + scale * loss))
    assert turned.status == plain.status == "fail"
    assert turned.evidence["best_step"] == plain.evidence["best_step"]
    assert turned.value == pytest.approx(plain.value, rel=1e-6)


def test_scatter_about_a_flat_end_is_no_rise() -> None:
    for seed in range(20):
        noise = 0.05 * np.random.default_rng(seed).standard_normal(COUNT)
        assert overfitting.ask(curves(falling() + noise, falling())).status == "pass"


def test_a_rise_with_the_training_loss_is_not_called_over_fitting() -> None:
    found = overfitting.ask(curves(rising_after(25), rising_after(25)))
    assert found.status == "warn"
    assert found.evidence["state"] == "the run got worse"
    assert "not over-fitting" in found.message


def test_a_validation_loss_that_wanders_while_training_rests_is_none() -> None:
    rests = np.where(np.arange(COUNT) < 10, falling(), falling()[10])
    assert overfitting.ask(curves(rising_after(25), rests)).status == "pass"


def test_without_a_validation_metric_it_is_not_asked_and_says_so() -> None:
    rng = np.random.default_rng(0)
    found = overfitting.ask(analysed({"l.weight": rng.standard_normal((20, 4, 3))}))
    assert (found.status, found.evidence["state"]) == ("info", "not asked")
    assert found.message.startswith("Not asked: no validation metric")


def test_few_values_cannot_tell() -> None:
    val = np.full(COUNT, np.nan)
    val[[0, 30, 59]] = (2.0, 0.5, 0.9)
    found = overfitting.ask(curves(val, falling()))
    assert found.status == "inconclusive"
    assert found.message.startswith("3 recorded values of val_loss are too few")
    assert found.action.do == "record_more"


def test_a_validation_loss_that_is_given_now_and_then_is_judged() -> None:
    val = rising_after(25)
    val[np.arange(COUNT) % 5 != 0] = np.nan
    found = overfitting.ask(curves(val, falling()))
    assert found.evidence["state"] == "overfitting"
    assert found.evidence["best_step"] == 25
    assert found.evidence["points"] == 12


def test_higher_may_be_better() -> None:
    accuracy = 1.0 - rising_after(25) / 3.0
    found = overfitting.ask(
        analysed(
            {"l.weight": np.random.default_rng(0).standard_normal((COUNT, 4, 3))},
            {"val_loss": falling(), "quality": accuracy},
            metric="quality:max",
        )
    )
    assert found.status == "fail"
    assert "quality was highest at step" in found.message
    assert found.evidence["best"] == pytest.approx(accuracy[20:35].max(), rel=0.02)


def test_wrong_labels_are_learned_by_heart_and_noticed() -> None:
    """A validation loss that rises from 0.5 to 4 was once 'converged, gate passed'."""
    run = Training("adam", rate=1e-2, every=20, samples=64, wrong_labels=0.3).run()
    assert run.metrics["val_loss"][-1] > 4.0 * min(run.metrics["val_loss"])
    found = overfitting.ask(run.analysis())
    best = run.every * int(np.argmin(run.metrics["val_loss"]))
    assert found.status == "fail"
    assert abs(found.evidence["best_step"] - best) <= 2 * run.every
