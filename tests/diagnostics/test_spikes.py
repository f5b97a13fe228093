"""Spikes that are put in: where, how high, which layer first, and whether the run recovered."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.diagnostics import spikes
from tests.small_training import Training, analysed

COUNT = 60


def run_with(loss: np.ndarray, jumps: dict[str, int] | None = None):
    """A loss, and two layers that drift and jump at given snapshots."""
    rng = np.random.default_rng(0)
    paths = {}
    for name in ("first.weight", "second.weight"):
        steps = 0.1 + 0.01 * rng.standard_normal((COUNT, 4, 3))
        if jumps and name in jumps:
            steps[jumps[name]] *= 20.0
        paths[name] = steps.cumsum(axis=0)
    return analysed(paths, {"loss": loss})


def falling(noise: float = 0.0) -> np.ndarray:
    scatter = noise * np.random.default_rng(2).standard_normal(COUNT)
    return 2.0 * np.exp(-np.arange(COUNT) / 8.0) + scatter


def with_bump(at: int, height: float, decay: float) -> np.ndarray:
    t = np.arange(COUNT)
    return falling(0.005) + np.where(t >= at, height * decay ** np.maximum(t - at, 0), 0.0)


def test_a_spike_that_is_recovered_from_is_a_warning() -> None:
    found = spikes.ask(run_with(with_bump(30, 1.0, 0.4), {"second.weight": 30, "first.weight": 31}))
    (spike,) = found.evidence["spikes"]
    assert found.status == "warn"
    assert spike["step"] == 30
    assert spike["before_step"] == 29
    assert spike["height"] == pytest.approx(1.0, rel=0.1)
    assert 31 <= spike["recovered_step"] <= 34
    assert spike["layers"][0]["layer"] == "second"
    assert spike["layers"][0]["times"] == pytest.approx(20.0, rel=0.2)
    assert "second jumps first" in found.message


def test_a_spike_that_stays_fails_and_names_the_weights_before_it() -> None:
    found = spikes.ask(run_with(with_bump(40, 1.5, 1.0)))
    assert found.status == "fail"
    assert found.evidence["spikes"][0]["recovered_step"] is None
    assert (found.action.do, found.action.step) == ("restore", 39)
    assert found.message.startswith("Loss spike at step 40, not recovered: loss rises")


def test_what_ends_far_below_a_high_peak_and_far_above_the_start_has_not_recovered() -> None:
    loss = with_bump(40, 20.0, 0.3)
    loss[40:] += 1.8
    assert spikes.ask(run_with(loss)).evidence["state"] == "not recovered"


def test_several_spikes_ask_for_a_lower_rate() -> None:
    loss = falling(0.005)
    loss[[20, 30, 40]] += 1.0
    found = spikes.ask(run_with(loss))
    assert len(found.evidence["spikes"]) == 3
    assert found.action.do == "lower_lr"
    assert "3 spikes in all" in found.message


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_spike(seed: int) -> None:
    loss = falling() + 0.1 * np.random.default_rng(seed).standard_normal(COUNT)
    assert spikes.ask(run_with(loss)).status == "pass"


@pytest.mark.parametrize(("offset", "scale"), [(-1.0, 1.0), (-9.0, 1e-3), (3.0, 1e5)])
def test_the_loss_may_have_any_zero_and_unit(offset: float, scale: float) -> None:
    loss = with_bump(30, 1.0, 0.4)
    plain, turned = (spikes.ask(run_with(each)) for each in (loss, offset + scale * loss))
    assert turned.status == plain.status == "warn"
    assert turned.evidence["spikes"][0]["step"] == plain.evidence["spikes"][0]["step"]
    assert turned.value == pytest.approx(plain.value, rel=1e-6)


def test_a_slow_rise_is_no_spike() -> None:
    loss = falling() + 0.02 * np.maximum(np.arange(COUNT) - 25, 0)
    assert spikes.ask(run_with(loss)).status == "pass"


def test_without_a_loss_it_is_not_asked() -> None:
    rng = np.random.default_rng(0)
    found = spikes.ask(analysed({"l.weight": rng.standard_normal((20, 4, 3))}))
    assert (found.status, found.evidence["state"]) == ("info", "not asked")


def test_few_values_cannot_tell() -> None:
    loss = np.full(COUNT, np.nan)
    loss[0] = 1.0
    assert spikes.ask(run_with(loss)).status == "inconclusive"


def test_fifty_times_the_rate_for_a_while_is_named_with_the_weights_to_go_back_to() -> None:
    """It was once 'stalled without having learned much', although it had learned by then."""
    run = Training(rate=0.3, every=20, rate_at=lambda part: 50.0 if 0.6 < part < 0.65 else 1.0)
    found = spikes.ask(run.run().analysis())
    assert run.metrics["loss"][36] < 0.01 < 1.0 < run.metrics["loss"][-1]
    assert found.status == "fail"
    assert (found.action.do, found.action.step) == ("restore", 36 * run.every)
