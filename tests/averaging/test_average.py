"""Averages are the means of the recorded weights, in its dtypes, and told for what they are."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.averaging.average import DECAY
from koopscope.diagnostics.statistics.averaging import outlook
from tests.frameworks import framework
from tests.recorded import MLP, recorded, settling


@pytest.fixture
def run(tmp_path):
    return recorded(tmp_path / "run.h5", settling(MLP, 30), [10 * t for t in range(30)])


def stored(path, name):
    with h5py.File(path) as file:
        return file["weights"][name][()]


def test_an_average_is_the_mean_in_the_run_s_dtype(run):
    made = koopscope.average(run, last=5)
    assert (made.first_step, made.last_step, made.count) == (250, 290, 5)
    assert set(made.weights) == set(MLP)
    for name, values in made.weights.items():
        assert values.dtype == np.float32
        exact = stored(run, name)[-5:].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(values, exact, rtol=1e-7, atol=1e-9)


def test_an_earlier_snapshot_weighs_less(run):
    made = koopscope.average(run, last=3, weighing="ema", until=200)
    shares = np.array([DECAY**2, DECAY, 1.0])
    exact = np.tensordot(shares / shares.sum(), stored(run, "head.weight")[18:21].astype(float), 1)
    np.testing.assert_allclose(made.weights["head.weight"], exact, rtol=1e-6)
    assert made.last_step == 200


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".safetensors", ".pt"])
def test_a_file_holds_the_same_numbers(run, tmp_path, suffix):
    target = tmp_path / f"average{suffix}"
    said = koopscope.average(run, target, last=4)
    assert said.weights == {}
    expected = koopscope.average(run, last=4).weights["hidden.0.weight"]
    if suffix == ".npz":
        with np.load(target) as file:
            found = file["hidden.0.weight"]
    elif suffix == ".h5":
        with h5py.File(target) as file:
            found = file["hidden.0.weight"][()]
    elif suffix == ".safetensors":
        found = framework("safetensors.numpy").load_file(target)["hidden.0.weight"]
    else:
        found = framework("torch").load(target, weights_only=True)["hidden.0.weight"].numpy()
    np.testing.assert_array_equal(found, expected)


def test_what_stands_still_stays_what_it_is(tmp_path):
    weights = settling(MLP, 20)
    weights["head.bias"][:] = np.float32(0.1)
    made = koopscope.average(recorded(tmp_path / "run.h5", weights), last=7)
    assert (made.weights["head.bias"] == np.float32(0.1)).all()


def test_bfloat16_is_rounded_once(tmp_path):
    torch = framework("torch")
    rng = np.random.default_rng(0)
    path = tmp_path / "run.h5"
    with koopscope.Recorder(path) as recorder:
        for t in range(4):
            weights = torch.tensor(rng.normal(size=(5, 3))).to(torch.bfloat16)
            assert recorder.snapshot(t, {"w": weights})
    koopscope.average(path, tmp_path / "a.pt", last=4)
    found = torch.load(tmp_path / "a.pt", weights_only=True)["w"]
    assert found.dtype == torch.bfloat16
    with koopscope.open_run(path) as run:
        rows = np.concatenate([block.values for block in run.blocks()], axis=1).astype(float)
    exact = torch.tensor(rows.mean(axis=0).reshape(5, 3)).to(torch.bfloat16)
    assert torch.equal(found, exact)


def test_running_statistics_are_named(tmp_path):
    weights = settling({"conv.weight": (3, 3), "norm.running_mean": (3,)}, 12)
    made = koopscope.average(recorded(tmp_path / "run.h5", weights))
    assert made.running == ("norm.running_mean",)


def bouncing(snapshots=40, noise=1.0, drift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    steady = np.arange(snapshots)[:, None] * drift * rng.normal(size=300)
    return {"w": (steady + noise * rng.normal(size=(snapshots, 300))).reshape(snapshots, 20, 15)}


def seen(weights, tmp_path):
    with koopscope.open_run(recorded(tmp_path / "run.h5", weights)) as run:
        return outlook(Analysis.of(run))


def test_noise_about_a_point_is_averaged_and_a_straight_way_is_not(tmp_path):
    noisy = seen(bouncing(), tmp_path)
    (tmp_path / "run.h5").unlink()
    straight = seen(bouncing(noise=0.0, drift=1.0), tmp_path)
    assert noisy.probability > straight.probability
    assert noisy.cosine < -0.3 < 0.9 < straight.cosine
    assert noisy.gain_interval[0] <= noisy.gain <= noisy.gain_interval[1]


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_outlook_knows_no_unit(tmp_path, factor):
    weights = bouncing(drift=0.1)
    plain = seen(weights, tmp_path)
    (tmp_path / "run.h5").unlink()
    scaled = seen({name: factor * values for name, values in weights.items()}, tmp_path)
    assert scaled.count == plain.count
    assert scaled.probability == pytest.approx(plain.probability, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"last": 31}, "has 30 snapshots to average, not 31"),
        ({"last": 1}, "an average of 1 snapshots is none"),
        ({"last": 3, "include": "nothing"}, "no tensor of"),
    ],
)
def test_what_cannot_be_averaged_is_refused(run, tmp_path, words, problem):
    with pytest.raises(koopscope.KoopscopeError, match=problem):
        koopscope.average(run, tmp_path / "a.npz", **words)
    assert not (tmp_path / "a.npz").exists()


def test_weights_that_become_nan_are_not_averaged(tmp_path):
    weights = settling(MLP, 20)
    weights["head.bias"][15:] = np.nan
    path = recorded(tmp_path / "run.h5", weights)
    with pytest.raises(koopscope.KoopscopeError, match="NaN or infinite after step 14") as caught:
        koopscope.average(path)
    assert caught.value.hint == "average what came before: --until 14"
    assert koopscope.average(path, until=14, last=3).last_step == 14
