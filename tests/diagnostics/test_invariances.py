"""What must not change a verdict: units, zeros, names, the order and the cut of tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence, initialization
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of

RUNS = Path(__file__).parents[2] / "sample_runs"
NAMES = ("mlp_sgd", "transformer", "overfitting")


@pytest.fixture(scope="module", params=NAMES)
def run(request):
    """The analysis of a sample run."""
    with open_run(RUNS / f"{request.param}.h5") as opened:
        return Analysis.of(opened)


def verdicts(analysis: Analysis) -> dict[str, object]:
    found = convergence.ask(analysis).evidence
    begun = initialization.ask(analysis).evidence
    scores = [point["score"] for point in found["stop_history"]]
    return {
        "state": found["state"],
        "stop": [point["step"] == found["stop_step"] for point in found["stop_history"]],
        "scores": np.round(scores, 6).tolist(),
        "still_training": found["still_training"],
        "has_learned": found["has_learned"],
        "start": (begun["state"], begun["score"]),
    }


def described(analysis: Analysis, **changes: object) -> Analysis:
    return Analysis(replace(analysis.description, **changes), analysis.grams, Settings())


@pytest.mark.parametrize(("factor", "offset"), [(1.0, -1.0), (1.0, 100.0), (50.0, 0.0)])
def test_the_zero_and_the_unit_of_the_losses(run, factor, offset):
    metrics = {
        name: factor * np.asarray(values) + offset if "loss" in name else values
        for name, values in run.description.metrics.items()
    }
    assert verdicts(described(run, metrics=metrics)) == verdicts(run)


def test_the_unit_of_the_step(run):
    assert verdicts(described(run, steps=7 * run.description.steps)) == verdicts(run)


def test_the_unit_of_the_weights_in_convergence(run):
    scaled = {name: gram.scaled(64.0) for name, gram in run.grams.items()}
    ours, theirs = (verdicts(each) for each in (run, Analysis(run.description, scaled, Settings())))
    ours.pop("start"), theirs.pop("start")  # a start's scale is what a bad one shows
    assert ours == theirs


def test_the_order_and_the_names_of_tensors(run):
    new = {tensor.name: f"t{k}" for k, tensor in enumerate(reversed(run.description.tensors))}
    tensors = tuple(
        replace(tensor, name=new[tensor.name]) for tensor in reversed(run.description.tensors)
    )
    grams = {new[name]: run.grams[name] for name in reversed(list(run.grams))}
    description = replace(run.description, tensors=tensors)
    assert verdicts(Analysis(description, grams, Settings())) == verdicts(run)


def trajectory(order: np.ndarray, cuts: tuple[int, ...]) -> Analysis:
    """Six units' weights on their way to rest, in an order, cut into tensors of so many units."""
    rng = np.random.default_rng(5)
    t = np.arange(40)[:, None, None]
    rate = rng.uniform(0.8, 0.95, (6, 1))
    weights = rng.normal(size=(6, 5)) + rng.normal(size=(6, 5)) * rate**t
    weights = (weights + 0.003 * rng.normal(size=weights.shape).cumsum(axis=0))[:, order]
    loss = 0.9 ** np.arange(40) + 0.01 * rng.normal(size=40)
    tensors, grams, begin = [], {}, 0
    for index, units in enumerate(cuts):
        name = f"l{index}.weight"
        tensors.append(TensorInfo(name, (units, 5), "float64"))
        grams[name] = gram_of(weights[:, begin : begin + units].reshape(40, -1))
        begin += units
    description = RunDescription(
        "run", "test", np.arange(40), tuple(tensors), {"loss": loss, "val_loss": loss + 0.1}
    )
    return Analysis(description, grams, Settings())


def test_a_permutation_of_units():
    ours = verdicts(trajectory(np.arange(6), (6,)))
    assert verdicts(trajectory(np.array([3, 1, 5, 0, 2, 4]), (6,))) == ours


def test_the_cut_into_tensors_in_convergence():
    whole, cut = (verdicts(trajectory(np.arange(6), cuts)) for cuts in ((6,), (1, 3, 2)))
    whole.pop("start"), cut.pop("start")  # judged matrix by matrix, by their own scale
    assert cut == whole


def test_every_second_snapshot_keeps_the_prediction_inside_its_interval(run):
    found = convergence.ask(run).evidence["stop_history"][-1]
    steps = run.description.steps
    with open_run(RUNS / Path(run.description.path).name) as opened:
        last = len(steps) - 1 - (len(steps) - 1) % 2
        kept = np.arange(0, last + 1, 2)
        weights = {
            tensor.name: gram_of(
                np.concatenate([block.values[kept] for block in opened.blocks([tensor])], axis=1)
            )
            for tensor in run.tensors
        }
    metrics = {name: np.asarray(v)[kept] for name, v in run.description.metrics.items()}
    description = replace(run.description, steps=steps[kept], metrics=metrics)
    thinned = Analysis(description, weights, Settings())
    point = convergence.ask(thinned).evidence["stop_history"][-1]
    assert found["interval"][0] <= point["statistic"] <= found["interval"][1]
