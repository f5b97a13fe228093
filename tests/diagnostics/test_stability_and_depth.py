"""Stability on gradient descent with known eigenvalues; depth on runs with known layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import depth, stability
from koopscope.diagnostics.statistics import layer_stack
from koopscope.diagnostics.statistics.layer_stack import likeness, stack_of
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of

RUNS = Path(__file__).parents[2] / "sample_runs"


def recorded(name):
    with open_run(RUNS / f"{name}.h5") as run:
        return Analysis.of(run)


def analysis(layers, metrics=None):
    """Analyse trajectories (T, n) by layer name; each is one weight matrix of two rows."""
    count = len(next(iter(layers.values())))
    tensors = tuple(
        TensorInfo(f"{name}.weight", (2, values.shape[1] // 2), "float64")
        for name, values in layers.items()
    )
    grams = {f"{name}.weight": gram_of(values) for name, values in layers.items()}
    description = RunDescription("memory", "test", np.arange(count), tensors, metrics or {})
    return Analysis(description, grams, Settings())


def descent(eigenvalues, snapshots=40, weights=8):
    """Gradient descent on a quadratic: w_t - w* = sum_j eigenvalues_j^t v_j."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((len(eigenvalues), weights))
    powers = np.array(eigenvalues)[:, None] ** np.arange(snapshots)
    return rng.standard_normal(weights) + powers.T @ directions


@pytest.mark.parametrize(
    ("eigenvalues", "state"),
    [
        ([0.95, 0.8], "stable"),
        ([0.99, -0.98], "edge of stability"),
        ([0.9, -1.1], "growing"),
    ],
)
def test_gradient_descent_is_named_by_its_eigenvalues(eigenvalues, state):
    path = descent(eigenvalues)
    if state == "edge of stability":
        path = path + np.outer(np.arange(40.0), np.full(8, 0.4))
    found = stability.ask(analysis({"only": path}))
    assert found.evidence["state"] == state


def test_noise_about_a_minimum_is_no_instability():
    path = 5.0 + 0.01 * np.random.default_rng(0).standard_normal((60, 400))
    assert stability.ask(analysis({"only": path})).evidence["state"] == "stable"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("mlp_sgd", "pass"),
        ("past_convergence", "pass"),
        ("transformer", "pass"),
        ("lr_too_high", "warn"),
        ("diverging", "fail"),
    ],
)
def test_sample_runs_with_too_high_a_rate_are_flagged_and_others_are_not(name, status):
    assert stability.ask(recorded(name)).status == status


def test_layers_that_move_alike_count_once():
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal((40, 60)).cumsum(axis=0) for _ in range(2))
    found = depth.ask(analysis({"l.0": a, "l.1": a * 3.0, "l.2": b, "l.3": b + 1.0, "out": a}))
    assert found.evidence["recorded_depth"] == 4
    assert found.evidence["suggested_depth"] == 2
    assert [layer["redundant"] for layer in found.evidence["layers"]] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_layers_that_move_each_on_their_own_are_all_needed():
    rng = np.random.default_rng(6)
    layers = {f"l.{k}": rng.standard_normal((60, 400)).cumsum(axis=0) for k in range(4)}
    found = depth.ask(analysis(layers))
    assert found.status == "pass"
    assert found.evidence["suggested_depth"] == found.evidence["recorded_depth"] == 3


def test_one_layer_has_no_depth_to_judge():
    assert depth.ask(analysis({"only": descent([0.9, 0.8])})).status == "inconclusive"


def sweep_of(losses):
    rng = np.random.default_rng(8)
    runs = []
    for k, least in enumerate(losses, start=1):
        paths = {f"l.{i}": rng.standard_normal((30, 16)).cumsum(axis=0) for i in range(k)}
        paths["out"] = rng.standard_normal((30, 16)).cumsum(axis=0)
        loss = least + (1.0 - least) * 0.7 ** np.arange(30.0)
        runs.append(analysis(paths, {"loss": loss}))
    return runs


def test_a_sweep_suggests_the_smallest_depth_near_the_best():
    found = depth.sweep(sweep_of([0.9, 0.8, 0.12, 0.1, 0.11]))
    assert found["suggested_depth"] == 3
    assert [run["depth"] for run in found["runs"]] == [1, 2, 3, 4, 5]
    assert found["method"] == "recorded losses"


def test_runs_of_the_same_depth_are_no_sweep():
    runs = sweep_of([0.9, 0.5, 0.1])
    assert depth.sweep([runs[0], runs[1], runs[1]]) is None
    assert depth.sweep(runs[:2]) is None


@pytest.mark.parametrize(
    ("layers", "built"),
    [
        (["hidden.0", "hidden.1", "head"], 2),
        (["dense", "dense_1", "dense_2"], 2),
        (["conv2d", "conv2d_1", "conv2d_2", "dense"], 3),
        (["0", "2", "4"], 2),
        (["blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down", "head"], 2),
        (["input", "middle", "output"], 2),
    ],
)
def test_the_depth_built_is_read_from_the_names_of_several_frameworks(layers, built):
    rng = np.random.default_rng(0)
    grams = {f"{layer}.weight": gram_of(rng.normal(size=(14, 12))) for layer in layers}
    tensors = tuple(TensorInfo(name, (3, 4), "float64") for name in grams)
    description = RunDescription("names", "test", np.arange(14), tensors)
    stack = stack_of(Analysis(description, grams, Settings()))
    assert stack is not None
    assert stack.depth == built


def test_layers_that_all_move_straight_ahead_are_one_motion() -> None:
    along = np.arange(16.0)[:, None] * np.array([1.0, 2.0, -1.0, 0.5])
    stack = stack_of(analysis(dict.fromkeys(("a", "b", "c"), along)))
    assert stack is not None
    assert likeness(stack).distinct == 1.0


@pytest.mark.parametrize("room", [2**25, 0])
def test_likeness_is_the_alignment_of_centred_cosines(monkeypatch, room):
    rng = np.random.default_rng(2)
    layers = {f"layer{k}": rng.normal(size=(20, 8)).cumsum(axis=0) for k in range(7)}
    stack = stack_of(analysis(layers))
    assert stack is not None
    flat = []
    for values in layers.values():
        moves = np.diff(values, axis=0)
        moves /= np.linalg.norm(moves, axis=1)[:, None]
        cosines = moves @ moves.T
        cosines -= cosines.mean(axis=0)
        cosines -= cosines.mean(axis=1)[:, None]
        np.fill_diagonal(cosines, 0.0)
        flat.append(cosines.ravel() / np.linalg.norm(cosines))
    similar = np.array(flat) @ np.array(flat).T
    # Compared in several blocks, and held in float32 where there is no room.
    for name, value in (("_ROWS", 3), ("_PRODUCT_BYTES", 1024), ("LIKENESS_BYTES", room)):
        monkeypatch.setattr(layer_stack, name, value)
    found = likeness(stack)
    off = 1e-12 if room else 1e-6
    expected = [similar[k, :k].max() for k in range(1, 7)]
    np.testing.assert_allclose(found.to_earlier[1:], expected, atol=off)
    assert found.most_like.tolist() == [-1, *(int(similar[k, :k].argmax()) for k in range(1, 7))]
    values = np.linalg.eigvalsh(similar)
    assert found.distinct == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=off)
