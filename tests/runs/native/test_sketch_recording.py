"""A run file of sketches: what is in it after resuming, taking back, damage, and with weights."""

import tracemalloc
import warnings

import h5py
import numpy as np
import pytest

from koopscope import KoopscopeError, Recorder
from koopscope.runs.detect.opening import open_run, open_shards
from koopscope.runs.native.recorder import Recorder as NativeRecorder
from koopscope.runs.sketching.parts import Part


def trajectory(snapshots, seed=0):
    rng = np.random.default_rng(seed)
    start, away = rng.normal(size=(2, 30, 40)), rng.normal(size=(30, 40))
    return [
        {
            "fc.weight": (start[0] + 1e-4 * t * away + 1e-5 * rng.normal(size=away.shape)).astype(
                np.float32
            ),
            "fc.bias": np.full(5, 0.1 * t),
        }
        for t in range(snapshots)
    ]


def recorded(path, snapshots, first=0, **options):
    options.setdefault("sketch", 16)
    with Recorder(path, **options) as recorder:
        for t, tensors in enumerate(snapshots, first):
            assert recorder.snapshot(10 * t, tensors, loss=1.0 / (1 + t))
    return recorder.path


def sketches(path):
    with open_run(path) as run:
        return {tensor.name: run.sketched(tensor) for tensor in run.description.tensors}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


def test_it_is_a_run_without_weights(path):
    recorded(path, trajectory(6))
    with open_run(path) as run:
        about = run.description
        assert about.format == "koopscope-run 1.2"
        assert [(t.name, t.shape, t.dtype) for t in about.tensors] == [
            ("fc.weight", (30, 40), "float32"),
            ("fc.bias", (5,), "float64"),
        ]
        assert (about.sketch.numbers, about.sketch.kept, about.parameters) == (16, (), 1205)
        assert about.steps.tolist() == [0, 10, 20, 30, 40, 50]
        assert run.volume(about.tensors) == 4 * 6 * (16 + 5)
        with pytest.raises(KoopscopeError, match="no weights"):
            next(run.blocks())
        with pytest.raises(KoopscopeError, match="pruning needs weights") as refused:
            run.with_weights("pruning")
        assert "keep_every" in refused.value.hint
    with h5py.File(path) as file:
        assert not len(file["weights"])


def test_small_changes_survive_float32(path):
    snapshots = trajectory(40)
    recorded(path, snapshots)
    found = sketches(path)["fc.weight"]
    whole = np.array([each["fc.weight"].ravel() for each in snapshots], float)
    exact = np.square(np.diff(whole, axis=0)).sum(axis=1)
    np.testing.assert_allclose(found.fact("change")[1:], exact, rtol=1e-6)
    estimated = np.square(np.diff(found.values, axis=0)).sum(axis=1)
    assert 0.5 < np.mean(estimated / exact) < 1.6  # 16 numbers; not rounding of |w|, 1e4 as long
    bias = sketches(path)["fc.bias"].values[:, 0]
    np.testing.assert_allclose(bias, np.arange(40) * 0.1, rtol=3e-8, atol=1e-12)


def test_resuming_continues_the_sketch_and_knows_what_it_does_not_know(path):
    snapshots = trajectory(12)
    recorded(path, snapshots)
    in_one = sketches(path)["fc.weight"]
    other = path.with_name("resumed.h5")
    recorded(other, snapshots[:7])
    recorded(other, snapshots[7:], first=7)
    resumed = sketches(other)["fc.weight"]
    np.testing.assert_allclose(resumed.values, in_one.values, atol=1e-9)
    known = np.isfinite(resumed.fact("change"))
    assert known.tolist() == [False] + [True] * 6 + [False] + [True] * 4
    assert np.flatnonzero(~np.isfinite(resumed.fact("product"))).tolist() == [0, 1, 7, 8]
    np.testing.assert_allclose(
        resumed.fact("change")[known], in_one.fact("change")[known], rtol=1e-12
    )
    assert np.isnan(resumed.fact("start")[7:]).all()


def test_training_that_is_taken_back_replaces_what_came_after(path):
    snapshots = trajectory(12)
    recorded(path, snapshots, keep_every=2)
    recorder = Recorder(path, sketch=16, resume_from=40, keep_every=1)
    recorder.snapshot(50, snapshots[11])
    recorder.close()
    with open_run(path) as run:
        assert run.description.steps.tolist() == [0, 10, 20, 30, 40, 50]
        assert run.description.sketch.kept == (0, 2, 4, 5)
        with run.with_weights("a test") as kept:
            (block,) = [b for b in kept.blocks() if b.tensor.name == "fc.weight"]
            np.testing.assert_array_equal(block.values[-1], snapshots[11]["fc.weight"].ravel())
    single = path.with_name("single.h5")
    recorded(single, [*snapshots[:5], snapshots[11]])
    np.testing.assert_allclose(
        sketches(path)["fc.weight"].values, sketches(single)["fc.weight"].values, atol=1e-9
    )


def test_weights_are_kept_beside_the_sketches(path):
    snapshots = trajectory(5)
    with Recorder(path, sketch=16) as recorder:
        for t, tensors in enumerate(snapshots):
            recorder.snapshot(t, tensors, keep=t in (1, 3), loss=t)
    with open_run(path, weights_for="a test") as kept:
        assert kept.description.steps.tolist() == [1, 3]
        assert kept.description.metrics["loss"].tolist() == [1.0, 3.0]
        assert kept.description.sketch is None
        for block in kept.blocks():
            wanted = np.array([snapshots[t][block.tensor.name].ravel() for t in (1, 3)])
            np.testing.assert_array_equal(block.values, wanted[:, block.start : block.stop])


@pytest.mark.parametrize("other", [{"sketch": 32}, {"sketch": False}, {"sketch_seed": 7}])
def test_another_kind_of_record_goes_beside(path, other):
    recorded(path, trajectory(3))
    with pytest.warns(match="and not what is recorded now"):
        beside = recorded(path, trajectory(3), first=5, **other)
    assert beside.name == "run-2.h5"
    assert len(sketches(path)["fc.bias"].values) == 3


def test_a_tensor_that_goes_missing_is_left_out_and_said(path):
    snapshots = trajectory(4)
    del snapshots[2]["fc.bias"]
    snapshots[3]["fc.bias"] = np.zeros(6)
    with pytest.warns(match=r"fc.bias is missing or of another shape"):
        recorded(path, snapshots)
    with open_run(path) as run:
        assert [t.name for t in run.description.tensors] == ["fc.weight"]
        (left_out,) = run.description.skipped
        assert (left_out.name, left_out.weights) == ("fc.bias", 5)
        assert "only 2 of 4" in left_out.reason


def test_a_snapshot_that_is_not_finite_holds_the_place_of_the_last(path):
    snapshots = trajectory(6)
    snapshots[3]["fc.weight"] = snapshots[3]["fc.weight"].copy()
    snapshots[3]["fc.weight"][2, 2] = np.nan
    recorded(path, snapshots)
    found = sketches(path)["fc.weight"]
    assert found.fact("nonfinite").tolist() == [0, 0, 0, 1, 0, 0]
    np.testing.assert_array_equal(found.values[3], found.values[2])
    assert np.isfinite(found.values).all()
    assert np.isnan(found.fact("change")[[3, 4]]).all()


def test_what_cannot_be_sketched_never_ends_a_training(path, monkeypatch):
    recorder = Recorder(path, sketch=16)
    assert recorder.snapshot(0, trajectory(1)[0])

    def failing(*_):
        raise RuntimeError("the device is lost")

    with monkeypatch.context() as broken:
        broken.setattr("koopscope.runs.sketching.boxes.sums_of", failing)
        with pytest.warns(match="the device is lost"):
            assert not recorder.snapshot(1, trajectory(2)[1])
    assert recorder.snapshot(2, trajectory(3)[2])
    found = sketches(path)["fc.weight"]
    assert np.isnan(found.fact("change")).all()  # of a snapshot that is not there


@pytest.mark.parametrize("wrong", [7, 0, -1, "many", 2**20 + 1, 12.5])
def test_an_impossible_number_of_numbers_is_refused(path, wrong):
    with pytest.raises(KoopscopeError, match="numbers a tensor"):
        Recorder(path, sketch=wrong)


def test_keeping_is_for_sketches(path):
    with pytest.raises(KoopscopeError, match="keep_every"):
        Recorder(path, keep_every=3)


def test_parts_in_files_of_their_own_are_one_run_together(tmp_path):
    snapshots = trajectory(5)
    files = [tmp_path / f"run.rank{rank}.h5" for rank in (0, 1)]
    for rank, file in enumerate(files):
        rows = slice(0, 11) if rank == 0 else slice(11, 30)
        with NativeRecorder(file, sketch=16, metadata={"world_size": 2}) as recorder:
            for t, tensors in enumerate(snapshots):
                part = Part(tensors["fc.weight"][rows], (30, 40), (rows.start, 0))
                bias = {"fc.bias": tensors["fc.bias"]} if rank == 0 else {}
                assert recorder.snapshot(t, {"fc.weight": part, **bias})
    with open_run(files[0]) as alone:
        assert [t.name for t in alone.description.tensors] == ["fc.bias"]
        assert "440 of 1,200 weights" in alone.description.skipped[0].reason
    whole = tmp_path / "whole.h5"
    recorded(whole, snapshots)
    with open_shards(files) as run:
        names = {tensor.name: tensor for tensor in run.description.tensors}
        assert set(names) == {"fc.weight", "fc.bias"}
        assert not run.description.skipped
        together, single = run.sketched(names["fc.weight"]), sketches(whole)["fc.weight"]
        np.testing.assert_allclose(together.values, single.values, atol=1e-5)
        np.testing.assert_allclose(together.facts[:, :6], single.facts[:, :6], rtol=1e-5)
    with pytest.raises(KoopscopeError, match="recorded in 2 shards"):
        open_shards(files[:1])


def test_a_snapshot_takes_little_memory_and_few_bytes(path):
    names = [f"blocks.{layer}.{part}" for layer in range(12) for part in "abcdefghijkl"]
    tensors = {name: np.ones((16, 8), np.float32) for name in names}
    tensors["wte.weight"] = np.ones((5_000, 800), np.float32)
    recorder = Recorder(path, sketch=64)
    recorder.snapshot(0, tensors)
    sizes = [path.stat().st_size]
    tracemalloc.start()
    for step in (1, 2, 3):
        tensors["wte.weight"] += np.float32(0.5)
        tracemalloc.reset_peak()
        recorder.snapshot(step, tensors)
        sizes.append(path.stat().st_size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20
    assert len(tensors) == 145
    assert max(np.diff(sizes)) < 60_000


DAMAGE = {
    "no index": lambda sketch: sketch.__delitem__("index"),
    "no values": lambda sketch: sketch.__delitem__("values"),
    "an index of another file": lambda sketch: sketch["index"].write_direct(
        np.full(sketch["index"].shape, ord("["), np.uint8)
    ),
    "another method": lambda sketch: sketch.attrs.__setitem__("method", "of tomorrow"),
    "too few rows": lambda sketch: sketch["facts"].resize(2, axis=0),
    "numbers that are none": lambda sketch: sketch["values"].__setitem__((1, 3), np.nan),
    "no number of numbers": lambda sketch: sketch.attrs.__setitem__("numbers", 3),
    "kept out of order": lambda sketch: (
        sketch["kept"].resize((2,)),
        sketch["kept"].__setitem__(slice(0, 2), [2, 1]),
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_sketch_is_one_sentence(path, kind):
    recorded(path, trajectory(4))
    with h5py.File(path, "r+") as file:
        DAMAGE[kind](file["sketch"])
    with pytest.raises(KoopscopeError, match="sketch"), open_run(path) as run:
        for tensor in run.description.tensors:
            run.sketched(tensor)


def test_warnings_are_none(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorded(path, trajectory(3), keep_every=2)
        sketches(path)
