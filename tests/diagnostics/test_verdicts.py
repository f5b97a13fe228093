"""Convergence and initialization on the sample runs, of which the truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import koopscope
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


def test_a_start_that_was_not_recorded_is_not_judged():
    run = analysis("symmetric_init")
    steps = run.description.steps
    for missing, status in ((1, "fail"), (2, "inconclusive"), (20, "inconclusive")):
        found = initialization.ask(
            koopscope.analyze(
                RUNS / "symmetric_init.h5", window=(int(steps[missing]), None)
            ).analysis
        )
        assert found.status == status, missing
    assert "20 snapshot intervals after the start" in found.message


def broken(path, weights):
    """Record weights [T, N] of a run and return what stability says of it."""
    recorder = koopscope.Recorder(path)
    for step, row in enumerate(weights):
        recorder.snapshot(step, {"a.weight": row.reshape(4, 5)})
    return koopscope.analyze(path).finding("stability")


def test_weights_that_break_off_did_not_grow_and_weights_that_grew_did(tmp_path):
    generator = np.random.default_rng(2)
    calm = generator.normal(size=20) + 0.01 * generator.normal(size=(30, 20)).cumsum(axis=0)
    calm[24:] = np.nan
    found = broken(tmp_path / "calm.h5", calm.astype("f4"))
    assert (found.status, found.evidence["state"]) == ("fail", "broken off")
    assert "between steps 23 and 24" in found.message
    assert "grew" not in found.message
    assert "log or division of 0" in found.hint
    grown = generator.normal(size=20) * 1.5 ** np.arange(30)[:, None]
    grown[24:] = np.inf
    found = broken(tmp_path / "grown.h5", grown.astype("f4"))
    assert (found.status, found.evidence["state"]) == ("fail", "growing")
    assert "grew until they became NaN or infinite, after step 23" in found.message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("thrown_off", "Lost again what it had learned"),
        ("dead_init", "Stalled without having learned much"),
    ],
)
def test_what_was_learned_and_lost_is_told_from_what_never_was(name: str, words: str) -> None:
    convergence = koopscope.analyze(RUNS / f"{name}.h5").finding("convergence")
    assert convergence.message.startswith(words)
    assert "would have been enough" not in convergence.message
    assert (convergence.evidence.get("lost") is not None) == (name == "thrown_off")
