"""Complex weights: recorded, read from every source, analysed as pairs of reals, pruned by size."""

import json
import warnings

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis, Settings
from koopscope.cli.main import main
from koopscope.runs.checkpoints.series import CheckpointSeries
from koopscope.runs.detect.opening import open_run
from koopscope.runs.detect.sources import snapshots_of
from koopscope.runs.native.recorder import Recorder

T, SHAPE = 20, (6, 50)


def trajectory(dtype="complex64", seed=0):
    rng = np.random.default_rng(seed)

    def drawn():
        return rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)

    start, modes, values = drawn(), [drawn(), drawn()], [0.95, 0.8 * np.exp(0.5j)]
    return [
        (start + sum(v**t * mode for v, mode in zip(values, modes, strict=True))).astype(dtype)
        for t in range(T)
    ]


def record(path, series):
    with Recorder(path) as recorder:
        for t, weights in enumerate(series):
            recorder.snapshot(10 * t, {"layer.weight": weights, "layer.bias": weights[0].real})
    return path


@pytest.fixture(name="series", scope="module")
def made_series():
    return trajectory()


@pytest.fixture(name="run", scope="module")
def recorded_run(series, tmp_path_factory):
    return record(tmp_path_factory.mktemp("complex") / "run.h5", series)


def called(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def weights_of(path):
    with open_run(path) as run:
        tensor = run.description.tensors[0]
        return np.concatenate([block.values.copy() for block in run.blocks([tensor])], axis=1)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_what_was_recorded_is_read_back(tmp_path, dtype):
    series = trajectory(dtype)
    path = record(tmp_path / "run.h5", series)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == "1.1"
        assert file["weights/layer.weight"].dtype == dtype
    found = weights_of(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(series).reshape(T, -1))


def test_a_file_without_complex_tensors_stays_readable_for_older_readers(tmp_path):
    with Recorder(tmp_path / "run.h5") as recorder:
        recorder.snapshot(0, {"w": np.ones(3, np.float32)})
    with h5py.File(tmp_path / "run.h5") as file:
        assert file.attrs["format_version"] == "1.0"


def test_a_large_complex_tensor_is_read_from_where_it_lies(tmp_path):
    rng = np.random.default_rng(0)
    series = rng.standard_normal((3, 2, 300, 1000)).astype(np.float32)
    series = series[:, 0] + 1j * series[:, 1]
    with Recorder(tmp_path / "run.h5") as recorder:
        for t, weights in enumerate(series):
            recorder.snapshot(t, {"w": weights})
    with open_run(tmp_path / "run.h5") as run:
        tensor = run.description.tensors[0]
        can_list = hasattr(h5py.h5d.DatasetID, "chunk_iter")  # HDF5 1.14 lists where chunks lie
        assert (run._extents_of(tensor) is not None) == can_list
        out = np.empty((3, 777), np.complex64)
        run.read(tensor, 123_456, 124_233, out)
    np.testing.assert_array_equal(out, series.reshape(3, -1)[:, 123_456:124_233])


def test_a_dtype_that_changes_costs_no_imaginary_part(tmp_path, series):
    with Recorder(tmp_path / "run.h5") as recorder:
        recorder.snapshot(0, {"a": series[0], "b": series[0].real, "c": series[0]})
        with pytest.warns(RuntimeWarning, match="b is complex64 where it was float32"):
            recorder.snapshot(
                1, {"a": series[1].astype(complex), "b": series[1], "c": series[1].real}
            )
    with open_run(tmp_path / "run.h5") as run:
        assert [tensor.name for tensor in run.description.tensors] == ["a", "c"]
        a, c = (
            np.concatenate([b.values.copy() for b in run.blocks([t])], axis=1)
            for t in run.description.tensors
        )
    np.testing.assert_array_equal(a[1], series[1].reshape(-1))
    np.testing.assert_array_equal(c[1], series[1].real.reshape(-1))


def npz_files(folder, series):
    for t, weights in enumerate(series):
        np.savez(folder / f"step_{10 * t}.npz", **{"layer.weight": weights})


def fortran_npz_files(folder, series):
    for t, weights in enumerate(series):
        np.savez(folder / f"step_{10 * t}.npz", **{"layer.weight": np.asfortranarray(weights)})


def torch_files(folder, series):
    torch = pytest.importorskip("torch")
    for t, weights in enumerate(series):
        # Half of them as conjugates that PyTorch has not carried out.
        tensor = torch.tensor(weights.conj()).conj() if t % 2 else torch.tensor(weights)
        torch.save({"layer.weight": tensor}, folder / f"step_{10 * t}.pt")


def safetensors_files(folder, series):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    for t, weights in enumerate(series):
        save_file({"layer.weight": weights}, folder / f"step_{10 * t}.safetensors")


def stacked_hdf5(folder, series):
    with h5py.File(folder / "run.h5", "w") as file:
        file["step"] = 10 * np.arange(T)
        file["layer.weight"] = np.array(series)


def big_endian_hdf5(folder, series):
    with h5py.File(folder / "run.h5", "w") as file:
        file["step"] = 10 * np.arange(T)
        file["layer.weight"] = np.array(series).astype(">c8")


def grouped_hdf5(folder, series):
    with h5py.File(folder / "run.h5", "w") as file:
        for t, weights in enumerate(series):
            file[f"step_{10 * t}/layer.weight"] = weights


@pytest.mark.parametrize(
    "made",
    [
        npz_files,
        fortran_npz_files,
        torch_files,
        safetensors_files,
        stacked_hdf5,
        big_endian_hdf5,
        grouped_hdf5,
    ],
)
def test_every_source_gives_the_same_numbers(tmp_path, series, made):
    made(tmp_path, series)
    (found, *rest) = sorted(tmp_path.iterdir())
    path = tmp_path if rest else found
    opened = CheckpointSeries(snapshots_of(sorted(tmp_path.iterdir()))) if rest else open_run(path)
    with opened as run:
        (tensor,) = run.description.tensors
        assert (tensor.shape, tensor.dtype) == (SHAPE, "complex64")
        found = np.concatenate([block.values.copy() for block in run.blocks()], axis=1)
        np.testing.assert_array_equal(found, np.array(series).reshape(T, -1))
    assert called(["convert", str(path), "-o", str(tmp_path / "converted.h5")]) == 0
    np.testing.assert_array_equal(weights_of(tmp_path / "converted.h5"), found)


def test_jax_arrays_are_recorded(tmp_path):
    jax = pytest.importorskip("jax")
    with Recorder(tmp_path / "run.h5") as recorder:
        recorder.snapshot(0, {"w": jax.numpy.array([1 + 2j, 3 - 1j])})
    assert weights_of(tmp_path / "run.h5").tolist() == [[1 + 2j, 3 - 1j]]


@pytest.mark.parametrize("settings", [{}, {"method": "compressed", "measurements": 64}])
@pytest.mark.parametrize("measurement", ["sample", "sparse", "gaussian"])
def test_the_analysis_is_that_of_pairs_of_reals(tmp_path, series, run, settings, measurement):
    if settings:
        settings = {**settings, "measurement": measurement}
    elif measurement != "sample":
        pytest.skip("there is one exact method")
    pairs = np.array(series).view(np.float32).reshape(T, *SHAPE, 2)
    with Recorder(tmp_path / "pairs.h5") as recorder:
        for t, weights in enumerate(pairs):
            recorder.snapshot(10 * t, {"layer.weight": weights, "layer.bias": series[t][0].real})
    with open_run(run) as one, open_run(tmp_path / "pairs.h5") as two:
        whole, parts = (Analysis.of(each, Settings(rank=3)) for each in (one, two))
        np.testing.assert_array_equal(
            whole.grams["layer.weight"].increments, parts.grams["layer.weight"].increments
        )
        assert whole.grams["layer.weight"].size == 300
        np.testing.assert_allclose(
            np.sort_complex(whole.spectrum().eigenvalues),
            np.sort_complex([0.95, 0.8 * np.exp(0.5j), 0.8 * np.exp(-0.5j)]),
            atol=1e-5,
        )
        if settings:
            measured = Analysis.of(one, Settings(rank=3, seed=1, **settings))
            assert np.isrealobj(measured.grams["layer.weight"].increments)
            found = measured.spectrum().eigenvalues
            assert min(abs(found - 0.95)) <= 0.02
            assert min(abs(found - 0.8 * np.exp(0.5j))) <= 0.05


def test_modes_of_complex_weights_rebuild_their_motion(run, series):
    with open_run(run) as opened:
        analysis = Analysis.of(opened, Settings(rank=3, exclude=("layer.bias",)))
        modes = np.concatenate([block.values for block in analysis.modes(opened)])
    spectrum = analysis.spectrum()
    rebuilt = modes @ spectrum.coordinates
    np.testing.assert_allclose(rebuilt, (series[1] - series[0]).reshape(-1), atol=1e-4)


def test_every_verb_takes_a_complex_run_or_says_what_it_cannot(run, tmp_path, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error", getattr(np, "exceptions", np).ComplexWarning)
        for verb in ("analyze", "inspect", "check"):
            capsys.readouterr()
            assert called([verb, str(run), "--format", "json"]) in (0, 1), verb
            said = json.loads(capsys.readouterr().out)
            if verb == "inspect":
                assert said["run"]["parameters"] == 350
                assert said["run"]["skipped"] == []
        assert called(["forecast", str(run), "--to", "250", "-o", str(tmp_path / "f.npz")]) == 2
        assert "layer.weight holds complex64 weights" in capsys.readouterr().err
        found = ["forecast", str(run), "--exclude", "layer.weight", "--beyond-trust"]
        assert called([*found, "--to", "200", "-o", str(tmp_path / "f.npz")]) == 0
    with np.load(tmp_path / "f.npz") as predicted:
        np.testing.assert_array_equal(predicted["layer.weight"], weights_of(run)[-1].reshape(SHAPE))


@pytest.mark.parametrize("structure", ["weight", "unit"])
def test_pruning_by_size_keeps_the_largest_moduli(run, series, tmp_path, structure):
    out = tmp_path / "masks.npz"
    more = ["--structure", structure, "--criterion", "magnitude", "--include", "layer.weight"]
    code = called(["prune", str(run), "--sparsity", "0.5", "-o", str(out), *more])
    if structure == "unit":
        assert code in (0, 2)  # a single layer has no unit to lose
        return
    assert code == 0
    with np.load(out) as masks:
        kept = masks["layer.weight"]
    assert kept.shape == SHAPE
    sizes = np.abs(series[-1].astype(complex))
    assert kept.sum() == 150
    assert sizes[kept].min() >= sizes[~kept].max()


def test_nan_in_a_complex_tensor_fails_the_gate(tmp_path, series, capsys):
    broken = [weights.copy() for weights in series]
    broken[-1][2, 3] = complex(1.0, np.nan)
    path = record(tmp_path / "run.h5", broken)
    assert called(["check", str(path)]) == 1
    assert "finite" in capsys.readouterr().out
    with open_run(path) as run:
        assert Analysis.of(run, Settings()).grams["layer.weight"].nonfinite[-1] == 1


def test_a_dmd_of_the_stored_tensor_is_complex(run):
    with h5py.File(run) as file:
        X = np.moveaxis(file["weights/layer.weight"][:], 0, -1)
    eigs = koopscope.DMD(svd_rank=3).fit(X).eigs
    for value in (1.0, 0.95, 0.8 * np.exp(0.5j)):
        assert np.abs(eigs - value).min() <= 1e-3
