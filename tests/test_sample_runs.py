"""What the README says of each sample run is true of the file that is committed."""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.runs.detect.opening import open_run
from sample_runs.comparing import differences
from sample_runs.table import BEGIN, END, describe, render
from tests.frameworks import framework

FOLDER = Path(__file__).parent.parent / "sample_runs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.h5"))
REQUIRED = {
    "mlp_sgd",
    "cnn_adam",
    "transformer",
    "stopped_early",
    "past_convergence",
    "lr_too_high",
    "dead_init",
    "too_deep",
}


def metrics(name):
    return describe(FOLDER / f"{name}.h5").metrics


def variations(name):
    return describe(FOLDER / f"{name}.h5").metadata["variations"]


def weights(name, tensor=None):
    """Return (T, N) of the whole run, or of one tensor."""
    with open_run(FOLDER / f"{name}.h5") as run:
        return np.concatenate(
            [block.values.copy() for block in run.blocks() if tensor in (None, block.tensor.name)],
            axis=1,
        )


def test_every_kind_of_run_is_there_and_the_repository_stays_small():
    assert set(NAMES) >= REQUIRED
    assert sum((FOLDER / f"{name}.h5").stat().st_size for name in NAMES) < 20e6


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_run_opens_is_small_and_starts_at_step_0(name):
    path = FOLDER / f"{name}.h5"
    run = describe(path)
    assert path.stat().st_size < 3e6
    assert 40 <= run.snapshots <= 100
    assert run.steps[0] == 0
    assert len(set(np.diff(run.steps))) == 1
    assert {"loss", "val_loss", "lr"} <= run.metrics.keys()
    assert not run.notes


def test_the_table_in_the_readme_is_what_the_files_give():
    written = (FOLDER / "README.md").read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    order = re.findall(r"^\| `(\w+)\.h5`", written, flags=re.MULTILINE)
    assert sorted(order) == NAMES
    assert written.strip() == render([FOLDER / f"{name}.h5" for name in order])


@pytest.mark.parametrize("name", ["mlp_sgd", "cnn_adam", "transformer"])
def test_a_healthy_run_learned_and_ends_near_its_best(name):
    recorded = metrics(name)
    initial, last, best = (
        recorded["val_loss"][0],
        recorded["val_loss"][-1],
        min(recorded["val_loss"]),
    )
    assert recorded["val_accuracy"][-1] > 0.95
    assert (last - best) / (initial - best) < 0.01


def test_the_run_stopped_early_improves_much_when_trained_on():
    recorded = metrics("stopped_early")["val_loss"]
    (end,) = variations("stopped_early").values()
    assert np.argmin(recorded) == len(recorded) - 1
    assert end["step"] == 1200
    assert end["val_loss"] < recorded[-1] / 4


def test_the_run_past_convergence_gains_nothing_in_its_last_four_fifths():
    recorded = metrics("past_convergence")["val_loss"]
    fifth = len(recorded) // 5
    fall = recorded[0] - recorded.min()
    assert abs(recorded[fifth:] - recorded[-1]).max() < 0.02 * fall
    assert np.polyfit(np.arange(len(recorded) - fifth), recorded[fifth:], 1)[0] > -1e-4
    moved = np.linalg.norm(np.diff(weights("past_convergence")[fifth:], axis=0), axis=1)
    assert moved.min() > 0


def test_the_learning_rate_too_high_jumps_and_a_lower_one_learns():
    recorded = metrics("lr_too_high")
    (lower,) = variations("lr_too_high").values()
    assert recorded["loss"][-1] > 10 * lower["loss"]
    assert lower["val_accuracy"] > 0.95 > 0.8 > recorded["val_accuracy"].max()
    rises = np.diff(recorded["loss"])
    assert np.sum(rises > 0.05) > 10


def test_a_rate_a_hundred_times_too_low_learned_next_to_nothing():
    recorded = metrics("rate_too_low")["loss"]
    (right,) = variations("rate_too_low").values()
    assert recorded[0] - recorded[-1] < 0.05 * (recorded[0] - right["loss"])


def test_a_lower_rate_leaves_the_plateau():
    recorded = metrics("plateau")
    (lower,) = variations("plateau").values()
    last = recorded["loss"][-20:]
    assert abs(np.polyfit(np.arange(20), last, 1)[0]) * 20 < 2.0 * last.std()
    assert lower["loss"] < last.min()


def test_the_spike_is_recovered_from_and_the_network_thrown_off_is_not():
    spiked, lost = metrics("spike"), metrics("thrown_off")
    assert sum(np.diff(spiked["loss"]) > 0.2) == 1
    assert spiked["loss"][-1] < 0.2
    assert lost["loss"].min() < 0.3 < 2.0 < lost["loss"][-1]
    assert variations("thrown_off")["without the mistake"]["loss"] < 0.3


def test_most_units_are_dead_and_the_frozen_layer_does_not_move():
    assert np.ptp(weights("dead_units", "hidden.0.bias")[:, :8], axis=0).max() == 0.0
    assert np.ptp(weights("dead_units", "hidden.0.bias")[:, 8:], axis=0).min() > 0.0
    assert not np.ptp(weights("frozen", "hidden.0.weight"), axis=0).any()
    assert np.median(np.ptp(weights("frozen", "hidden.1.weight"), axis=0)) > 0.01


def test_the_dead_network_moves_only_its_last_biases_and_the_default_one_learns():
    moved = [
        name
        for name in (tensor.name for tensor in describe(FOLDER / "dead_init.h5").tensors)
        if np.ptp(weights("dead_init", name), axis=0).any()
    ]
    assert moved == ["head.bias"]
    (default,) = variations("dead_init").values()
    assert metrics("dead_init")["val_accuracy"].max() < 0.15
    assert default["val_accuracy"] > 0.95


def test_the_units_of_the_symmetric_network_stay_equal_and_the_default_one_learns():
    rows = weights("symmetric_init", "hidden.1.bias")
    assert np.ptp(rows, axis=0).max() > 0
    assert np.ptp(rows, axis=1).max() == 0
    (default,) = variations("symmetric_init").values()
    assert metrics("symmetric_init")["val_accuracy"].max() < 0.4
    assert default["val_accuracy"] > 0.95


def test_every_shallow_network_of_the_sweep_beats_the_one_that_is_too_deep():
    sweep = variations("too_deep")
    deepest = metrics("too_deep")["val_loss"].min()
    assert list(sweep) == [f"depth {depth}" for depth in (1, 2, 3, 4, 6, 8)]
    assert all(sweep[f"depth {depth}"]["val_loss"] < deepest / 2 for depth in (1, 2, 3))


def test_the_overfitting_run_is_best_early_while_its_training_loss_falls():
    recorded = metrics("overfitting")
    best = np.argmin(recorded["val_loss"])
    assert best < len(recorded["val_loss"]) / 4
    assert recorded["val_loss"][-1] > 1.2 * recorded["val_loss"][best]
    assert recorded["loss"][-1] < 0.5 * recorded["loss"][best]


def test_the_cosine_run_stands_still_although_a_constant_rate_gets_further():
    recorded = metrics("cosine_schedule")
    speed = np.linalg.norm(np.diff(weights("cosine_schedule"), axis=0), axis=1)
    (constant,) = variations("cosine_schedule").values()
    assert recorded["lr"][-1] == 0
    assert speed[-1] < 0.01 * speed.max()
    assert constant["val_loss"] < recorded["val_loss"][-1] / 2


def test_the_run_recorded_per_step_has_only_begun():
    (end,) = variations("per_step").values()
    assert describe(FOLDER / "per_step.h5").steps.tolist() == list(range(81))
    assert end["val_loss"] < metrics("per_step")["val_loss"].min() / 2


def test_most_bfloat16_weights_look_frozen_although_training_goes_on():
    run = describe(FOLDER / "bfloat16.h5")
    stored = weights("bfloat16")
    (end,) = variations("bfloat16").values()
    assert run.dtype == "bfloat16"
    assert np.mean(stored[1:] == stored[:-1]) > 0.75
    assert (np.diff(run.metrics["loss"]) < 0).all()
    assert end["val_loss"] < run.metrics["val_loss"][-1] / 4


def test_the_diverging_run_grows_until_it_is_not_a_number():
    recorded = metrics("diverging")["loss"]
    (stable,) = variations("diverging").values()
    finite = recorded[np.isfinite(recorded)]
    assert (np.diff(finite) > 0).all()
    assert np.isnan(weights("diverging")[-1]).all()
    assert stable["val_loss"] < 0.6


def test_the_diverging_run_has_the_eigenvalue_that_gradient_descent_prescribes():
    datasets = framework("sklearn.datasets")
    inputs = datasets.load_diabetes().data
    inputs = (inputs / inputs.std(axis=0))[np.random.RandomState(0).permutation(len(inputs))[:295]]
    design = np.column_stack([inputs, np.ones(295)])
    steepest = np.linalg.eigvalsh(2 / 295 * design.T @ design)[-1]
    leading = koopscope.analyze(FOLDER / "diverging.h5").spectrum("network").eigenvalues[0]
    assert steepest == pytest.approx(7.3610, abs=1e-4)
    assert leading == pytest.approx((1 - 0.5 * steepest) ** 2, rel=1e-5)


def test_a_changed_weight_is_named_with_tensor_step_and_size(tmp_path):
    original = FOLDER / "stopped_early.h5"
    changed = Path(shutil.copy(original, tmp_path))
    assert differences(original, changed) == []
    with h5py.File(changed, "r+") as file:
        file["weights/hidden.1.bias"][3, 5] += 0.25
        file["metrics/loss"][4] += 0.5
    assert differences(original, changed) == [
        "tensor hidden.1.bias: differs from step 24 on, by at most 0.25",
        "metric loss: differs from step 32 on, by at most 0.5",
    ]


def test_equal_runs_with_nan_in_them_do_not_differ(tmp_path):
    copy = Path(shutil.copy(FOLDER / "diverging.h5", tmp_path))
    assert differences(FOLDER / "diverging.h5", copy) == []


def test_training_again_gives_the_same_bits():
    framework("torch")
    framework("sklearn")
    made_with = describe(FOLDER / "stopped_early.h5").metadata
    here = (
        f"torch {version('torch').partition('+')[0]}",
        f"{platform.system()} {platform.machine()}",
    )
    if here != (made_with["framework"], made_with["platform"]):
        pytest.skip(
            f"made with {made_with['framework']} on {made_with['platform']}, this is {here}"
        )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sample_runs.make",
            "--check",
            "--only",
            "stopped_early",
            "--only",
            "diverging",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=FOLDER.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same, bit for bit") == 2
