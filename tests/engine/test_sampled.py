"""Compressed passes: less is read, what that did is known, and an estimate says it is one."""

import numpy as np
import pytest

import koopscope.analysis.plan
from koopscope.analysis.analysis import Analysis, Settings
from koopscope.diagnostics import finiteness
from koopscope.engine.sampled import MeasuredGrams, Measuring
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from tests.known_systems import EIGENVALUES, distance, trajectory

LARGE, MIDDLE, SMALL = (400, 500), (300, 200), (50,)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Three tensors that differ a thousandfold in scale; noise keeps it from being of low rank."""
    target = tmp_path_factory.mktemp("runs") / "run.h5"
    rng = np.random.default_rng(0)
    recorder = Recorder(target)
    tensors = {}
    for name, shape, scale in (
        ("body.weight", LARGE, 1.0),
        ("neck.weight", MIDDLE, 1e-2),
        ("head.bias", SMALL, 10.0),
    ):
        size = int(np.prod(shape))
        moving = trajectory(size=size, motion=1e-2, seed=size)
        noise = 1e-5 * rng.standard_normal(moving.shape).cumsum(axis=0)
        tensors[name] = (scale * (moving + noise)).astype(np.float32).reshape(-1, *shape)
    for step in range(24):
        recorder.snapshot(step, {name: values[step] for name, values in tensors.items()})
    return target


def analysed(path, **asked):
    read = []
    with open_run(path) as run:
        return Analysis.of(run, Settings(rank=6, **asked), read.append), sum(read)


def test_a_sample_reads_little_and_says_how_far_it_is_off(path):
    exact, everything = analysed(path, method="exact")
    sampled, some = analysed(path, method="compressed", measurements=20000)
    assert some < 0.5 * everything
    reason = sampled.method_reason
    assert f"{sampled.grams.weights_read:,} of 260,050 weights were read, seed 0" in reason
    assert reason in sampled.description.notes
    claimed = sampled.confidence().compression_errors
    assert (claimed > 0.0).all()
    error = distance(sampled.spectrum().eigenvalues, exact.spectrum().eigenvalues)
    assert error <= 4.0 * claimed.max()


def test_a_sample_vouches_only_for_what_it_read(path):
    exact, _ = analysed(path, method="exact")
    sampled, _ = analysed(path, method="compressed", measurements=20000)
    assert exact.read_share == 1.0
    assert 0.0 < sampled.read_share < 0.5
    assert finiteness.ask(exact).message == "Every recorded weight is a finite number."
    share = f"{sampled.read_share:.1%} of them"
    assert share in finiteness.ask(sampled).message


def test_small_tensors_are_read_whole(path):
    sampled, _ = analysed(path, method="compressed", measurements=20000)
    assert sampled.grams.is_exact("head.bias")
    assert not sampled.grams.is_exact("body.weight")
    np.testing.assert_array_equal(sampled.confidence("head.bias").compression_errors, 0.0)


@pytest.mark.parametrize(
    ("measurement", "count"), [("sample", None), ("sparse", None), ("gaussian", 128)]
)
def test_every_measurement_finds_the_eigenvalues_at_every_level(path, measurement, count):
    found, _ = analysed(
        path, method="compressed", measurement=measurement, level="tensor", measurements=count
    )
    for _, _, spectrum in found.spectra():
        assert distance(spectrum.eigenvalues, EIGENVALUES) <= 5e-2


def test_the_seed_decides_the_sample_and_nothing_else_does(path):
    first, _ = analysed(path, method="compressed", measurements=20000, seed=1)
    again, _ = analysed(path, method="compressed", measurements=20000, seed=1)
    other, _ = analysed(path, method="compressed", measurements=20000, seed=2)
    np.testing.assert_array_equal(first.gram().increments, again.gram().increments)
    assert (first.gram().increments != other.gram().increments).any()


def test_a_tolerance_enlarges_the_sample_until_it_is_met(path):
    small, few = analysed(path, method="compressed", measurements=10000)
    wanted = 0.4 * small.confidence().compression_errors[small.spectrum().shares >= 0.01].max()
    large, more = analysed(path, method="compressed", measurements=10000, tolerance=wanted)
    assert more > few
    matter = large.spectrum().shares >= 0.01
    assert large.confidence().compression_errors[matter].max() <= wanted


def test_a_tolerance_that_no_sample_meets_ends_in_the_exact_numbers(path):
    found, _ = analysed(path, method="compressed", tolerance=1e-300)
    exact, _ = analysed(path, method="exact")
    assert "the sample grew to every weight, so the numbers are exact" in found.method_reason
    np.testing.assert_array_equal(found.gram().increments, exact.gram().increments)
    np.testing.assert_array_equal(found.confidence().compression_errors, 0.0)


def test_modes_come_from_all_weights(path):
    exact, _ = analysed(path, method="exact")
    sampled, _ = analysed(path, method="compressed", measurements=20000)
    with open_run(path) as run:
        true, found = (
            np.concatenate([block.values[:, 0] for block in analysis.modes(run, which=[0])])
            for analysis in (exact, sampled)
        )
    assert found.shape == true.shape == (260050,)
    cosine = np.abs(np.vdot(true, found)) / np.linalg.norm(true) / np.linalg.norm(found)
    assert cosine > 0.99


def test_auto_reads_a_small_run_whole_and_samples_one_that_would_take_long(path, monkeypatch):
    found, _ = analysed(path)
    assert found.settings.method == "exact"
    monkeypatch.setattr(koopscope.analysis.plan, "PATIENCE_SECONDS", 1e-6)
    found, _ = analysed(path)
    assert found.settings.method == "compressed"
    assert "(--method exact does it)" in found.method_reason


def test_packed_chunks_are_sampled_whole(tmp_path):
    import h5py

    values = trajectory(size=120_000, snapshots=8).astype(np.float32)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.attrs["format"], file.attrs["format_version"] = "koopscope-run", "1.0"
        file["weights/w"] = 0
        del file["weights/w"]
        file["weights"].create_dataset("w", data=values, chunks=(1, 1000), compression="gzip")
        file["step"] = np.arange(8)
    with open_run(tmp_path / "run.h5") as run:
        assert run.grain(run.description.tensors[0]) == 1000


def test_a_window_keeps_the_groups_independent(path):
    found, _ = analysed(path, method="compressed", measurements=20000, window=(4, 20))
    assert isinstance(found.grams, MeasuredGrams)
    assert (found.confidence().compression_errors > 0.0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"measurement": "fourier"}, "unknown measurement 'fourier'"),
        ({"measurements": 3}, "3 measurements are too few"),
        ({"seed": -1}, "a seed of -1"),
        ({"tolerance": 0.0}, "a tolerance of 0.0 cannot be met"),
        ({"tolerance": float("nan")}, "a tolerance of nan cannot be met"),
        ({"tolerance": 1e-3, "measurement": "sparse"}, "does not go with sparse"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong, message):
    with pytest.raises(KoopscopeError, match=message):
        Measuring(**wrong)


def test_an_unknown_method_is_refused():
    with pytest.raises(KoopscopeError, match="unknown method 'fast'"):
        Settings(method="fast")
