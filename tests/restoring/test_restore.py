"""Restored weights are the recorded ones, of the step that was asked for or of the right one."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.statistics.keeping import best_snapshot, last_healthy
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.run import RunDescription
from tests.frameworks import framework
from tests.recorded import MLP, recorded, settling
from tests.series_files import trajectory, write_series

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def stored(run: Path, step: int) -> dict[str, np.ndarray]:
    """Return the weights of a run file at a step, read by h5py alone."""
    with h5py.File(run) as file:
        row = file["step"][()].tolist().index(step)
        found: dict[str, np.ndarray] = {}
        file["weights"].visititems(
            lambda name, item: (
                found.update({name: item[row]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def with_loss(path: Path, losses: list[float], name: str = "loss", weights=None) -> Path:
    """Record a small network that settles, with a loss per snapshot; NaN is none."""
    run = settling(MLP, len(losses)) if weights is None else weights
    with Recorder(path) as recorder:
        for t, loss in enumerate(losses):
            told = {} if np.isnan(loss) else {name: loss}
            assert recorder.snapshot(10 * t, {key: each[t] for key, each in run.items()}, **told)
    return path


def healthy_step(path: Path) -> int:
    with koopscope.open_run(path) as run:
        found = last_healthy(Analysis.of(run))
    assert found is not None
    return found.step


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".safetensors", ".pt"])
def test_a_file_holds_the_weights_of_the_step_in_the_run_s_dtype(tmp_path, suffix):
    run = SAMPLES / "mlp_sgd.h5"
    target = tmp_path / f"step_111{suffix}"
    restored = koopscope.restore(run, 111, target)
    assert restored.step == 111
    assert restored.weights == {}
    expected = stored(run, 111)
    if suffix == ".h5":
        with h5py.File(target) as file:
            found = {name: file[name][()] for name in expected}
            assert file.attrs["step"] == "111"
    elif suffix == ".npz":
        with np.load(target) as file:
            found = {name: file[name] for name in expected}
            assert json.loads(str(file["__metadata__"]))["run"] == "mlp_sgd.h5"
    else:
        with koopscope.open_run(target) as read:
            assert read.description.steps.tolist() == [111]
            found = {
                b.tensor.name: b.values[0].reshape(b.tensor.shape).copy() for b in read.blocks()
            }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], values)


def test_a_network_of_torch_takes_the_file_as_its_own_state(tmp_path):
    torch = framework("torch")
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    states = []
    with Recorder(tmp_path / "run.h5") as recorder:
        for step in range(4):
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter += 0.5
            states.append({k: v.clone() for k, v in network.state_dict().items()})
            recorder.snapshot(step, network.state_dict())
    restored = koopscope.restore(tmp_path / "run.h5", 1, tmp_path / "weights.pt")
    assert restored.missing == ("1.num_batches_tracked",)
    loaded = torch.load(tmp_path / "weights.pt", weights_only=True)
    result = network.load_state_dict(loaded, strict=False)
    assert result.unexpected_keys == []
    for name, values in loaded.items():
        assert torch.equal(values, states[1][name])


def test_bfloat16_stays_bfloat16_bit_by_bit(tmp_path):
    target = tmp_path / "out.h5"
    koopscope.restore(SAMPLES / "bfloat16.h5", 10, target)
    expected = stored(SAMPLES / "bfloat16.h5", 10)
    with h5py.File(target) as file:
        for name, words in expected.items():
            assert file[name].attrs["dtype"] == "bfloat16"
            np.testing.assert_array_equal(file[name][()], words)


def test_without_a_file_the_weights_are_returned():
    restored = koopscope.restore(SAMPLES / "mlp_sgd.h5", 2220, include="head*")
    expected = stored(SAMPLES / "mlp_sgd.h5", 2220)
    assert sorted(restored.weights) == ["head.bias", "head.weight"]
    for name, values in restored.weights.items():
        np.testing.assert_array_equal(values, expected[name])


def test_of_checkpoints_only_the_one_file_is_read(tmp_path):
    files = write_series(tmp_path / "saved", ".npz")
    for path in files[:3]:  # cut after the run has been opened, so that reading them would fail
        size = path.stat().st_size
    with koopscope.open_run(tmp_path / "saved") as run:
        for path in files[:3]:
            path.write_bytes(b"\0" * size)
        from koopscope.restoring.restore import choose, write_snapshot

        write_snapshot(run, choose(run, 9), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        for name, values in trajectory().items():
            np.testing.assert_array_equal(found[name], values[8])


@pytest.mark.parametrize(
    ("name", "at", "step"),
    [
        ("overfitting.h5", "best", 220),
        ("past_convergence.h5", "best", 3600),
        ("lr_too_high.h5", "best", 518),
        ("lr_too_high.h5", "healthy", 555),
        ("diverging.h5", "healthy", 0),
        ("mlp_sgd.h5", "healthy", 2220),
        ("overfitting.h5", "healthy", 1600),
    ],
)
def test_the_right_snapshot_of_every_sample_run(name, at, step):
    restored = koopscope.restore(SAMPLES / name, at, include="*.weight")
    assert restored.step == step
    assert f"Step {step} " in restored.reason


def described(values, name="val_loss", steps=None) -> RunDescription:
    values = np.asarray(values, float)
    steps = np.arange(len(values)) if steps is None else steps
    return RunDescription("run.h5", "test", steps, (), {name: values})


def test_a_lucky_value_of_a_noisy_validation_loss_is_not_the_best():
    rng = np.random.default_rng(3)
    steps = np.arange(200)
    loss = 1.0 + (steps - 90) ** 2 / 9000.0 + 0.1 * rng.standard_normal(200)
    loss[20] = loss.min() - 0.05
    best = best_snapshot(described(loss))
    assert abs(best.step - 90) < 30
    assert np.argmin(loss) == 20


def test_the_best_does_not_depend_on_where_a_loss_has_its_zero_or_what_its_unit_is():
    loss = np.random.default_rng(0).standard_normal(60) * 0.1 + np.linspace(2, 0, 60) ** 2
    assert (
        len({best_snapshot(described(a * loss + b)).step for a, b in [(1, 0), (9, 0), (1, -5)]})
        == 1
    )


def test_the_highest_is_the_best_where_higher_is_better():
    accuracy = [0.1, 0.5, 0.7, 0.9, 0.6, 0.4]
    best = best_snapshot(described(accuracy, "val_accuracy"))
    assert (best.step, best.words) == (3, "the highest val_accuracy: 0.9, and 0.4 at the end")
    assert best_snapshot(described(accuracy, "val_thing"), "val_thing:max").step == 3
    assert best_snapshot(described(accuracy, "val_thing")) is None


def test_validation_that_is_logged_now_and_then_names_a_step_that_has_a_value():
    loss = np.full(40, np.nan)
    loss[::5] = [3.0, 2.0, 1.5, 1.2, 1.3, 1.5, 1.8, 2.0]
    best = best_snapshot(described(loss, steps=10 * np.arange(40)))
    assert (best.step, best.value, best.last) == (150, 1.2, 2.0)


def test_no_validation_loss_is_one_error(tmp_path):
    path = with_loss(tmp_path / "run.h5", [3.0, 2.0, 1.0])
    with pytest.raises(koopscope.KoopscopeError, match="holds no validation loss") as error:
        koopscope.restore(path, "best")
    assert "recorded are: loss" in str(error.value.hint)


def test_a_spike_that_was_recovered_from_is_no_trouble(tmp_path):
    losses = [*np.linspace(2, 1, 10), 8.0, 3.0, *np.linspace(1, 0.5, 10)]
    assert healthy_step(with_loss(tmp_path / "run.h5", losses)) == 210


def test_a_spike_that_was_not_recovered_from_is_where_health_ends(tmp_path):
    losses = [*np.linspace(2, 1, 10), *np.full(10, 2.3)]
    assert healthy_step(with_loss(tmp_path / "run.h5", losses)) == 90


def test_a_loss_that_became_nan_or_infinite_is_trouble(tmp_path):
    for end in (np.nan, np.inf):
        losses = [*np.linspace(2, 1, 10), *np.full(10, end)]
        assert healthy_step(with_loss(tmp_path / f"{end}.h5", losses)) == 90


def test_weights_that_are_not_finite_are_never_healthy(tmp_path):
    weights = settling(MLP, 12)
    weights["head.bias"][8:] = np.nan
    assert (
        healthy_step(with_loss(tmp_path / "run.h5", [*np.linspace(2, 1, 12)], "loss", weights))
        == 70
    )
    weights["head.bias"][:] = np.nan
    path = with_loss(tmp_path / "never.h5", [*np.linspace(2, 1, 12)], "loss", weights)
    with pytest.raises(koopscope.KoopscopeError):
        koopscope.restore(path, "healthy")
    assert koopscope.restore(path, "healthy", exclude="head.bias").step == 110


def test_without_a_loss_a_jump_of_the_weights_is_where_health_ends(tmp_path):
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((24, 300)) * 0.01, axis=0)
    walk[15:] += 3.0
    path = recorded(tmp_path / "run.h5", {"w": walk.astype(np.float32)})
    assert healthy_step(path) == 14


@pytest.mark.parametrize(
    ("at", "problem"),
    [(100, "step 100 was not recorded"), ("worst", "names no snapshot"), (True, "names no snap")],
)
def test_what_names_no_snapshot_is_one_error(at, problem):
    with pytest.raises(koopscope.KoopscopeError, match=problem):
        koopscope.restore(SAMPLES / "mlp_sgd.h5", at)


def test_an_output_is_kept_unless_forced_and_the_run_is_never_replaced(tmp_path):
    target = tmp_path / "out.npz"
    koopscope.restore(SAMPLES / "mlp_sgd.h5", 0, target)
    with pytest.raises(koopscope.KoopscopeError, match="exists and is kept"):
        koopscope.restore(SAMPLES / "mlp_sgd.h5", 37, target)
    koopscope.restore(SAMPLES / "mlp_sgd.h5", 37, target, force=True)
    with pytest.raises(koopscope.KoopscopeError, match="is an input"):
        koopscope.restore(SAMPLES / "mlp_sgd.h5", 0, SAMPLES / "mlp_sgd.h5", force=True)
