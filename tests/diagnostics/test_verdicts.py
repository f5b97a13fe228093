"""Convergence and initialization on the sample runs, of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics import convergence, initialization
from koopscope.runs.detect.opening import open_run

RUNS = Path(__file__).parents[2] / "sample_runs"


def analysis(name: str) -> Analysis:
    with open_run(RUNS / f"{name}.h5") as run:
        return Analysis.of(run)


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("past_convergence", "converged"),
        ("mlp_sgd", "converged"),
        ("stopped_early", "training"),
        ("cosine_schedule", "training"),
        ("dead_init", "stalled"),
        ("diverging", "diverging"),
        ("bfloat16", "inconclusive"),
    ],
)
def test_the_state_is_what_training_on_showed(name, state):
    assert convergence.ask(analysis(name)).evidence["state"] == state


def test_a_run_past_convergence_could_have_stopped_before_its_middle():
    found = convergence.ask(analysis("past_convergence")).evidence
    steps = [entry["step"] for entry in found["stop_history"]]
    assert steps[0] < found["stop_step"] < 0.5 * steps[-1]


def test_an_overfitting_run_is_stopped_near_its_best_validation_loss():
    run = analysis("overfitting")
    val = run.description.metrics["val_loss"]
    stop = int((run.description.steps == convergence.ask(run).evidence["stop_step"]).argmax())
    assert (val[stop] - val.min()) / (val[0] - val.min()) < 0.1
    assert (val[-1] - val.min()) / (val[0] - val.min()) > 0.3


def test_a_run_that_was_stopped_early_is_not_told_to_stop():
    assert convergence.ask(analysis("stopped_early")).evidence["stop_step"] is None


@pytest.mark.parametrize("name", ["mlp_sgd", "cnn_adam", "transformer", "per_step", "too_deep"])
def test_a_healthy_start_is_called_healthy(name):
    found = initialization.ask(analysis(name))
    assert found.status == "pass"
    assert found.evidence["state"] == "healthy"


@pytest.mark.parametrize(
    ("name", "why"), [("dead_init", "frozen"), ("symmetric_init", "symmetric units")]
)
def test_a_bad_start_is_called_bad_and_its_layers_are_named(name, why):
    found = initialization.ask(analysis(name))
    assert found.evidence["state"] == "bad"
    assert {layer["why"] for layer in found.evidence["layers"]} == {why}


def test_a_beginning_that_breaks_is_bad():
    found = initialization.ask(analysis("diverging").until(60))
    assert found.evidence["state"] == "bad"


def test_the_cluster_around_one_says_nothing_by_itself():
    states = {}
    for name in ("past_convergence", "stopped_early"):
        found = convergence.ask(analysis(name)).evidence
        states[name] = found["state"]
        assert found["cluster"]["count"] >= 1
    assert states == {"past_convergence": "converged", "stopped_early": "training"}


def test_few_snapshots_are_inconclusive():
    run = analysis("mlp_sgd")
    short = run.until(int(run.description.steps[5]))
    assert convergence.ask(short).status == "inconclusive"
    assert convergence.ask(short).evidence["stop_history"] == []
    assert initialization.ask(short).status == "inconclusive"
