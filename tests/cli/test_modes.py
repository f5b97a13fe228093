"""``koopscope modes`` as users call it: the arrays of the snapshot matrix, or one clear refusal."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope

RUN = Path(__file__).parents[2] / "sample_runs" / "mlp_sgd.h5"
HEAD = ("head.weight", "head.bias")


def increments(names: tuple[str, ...]) -> np.ndarray:
    """Return float64 [weights, snapshots - 1] of some tensors of the sample run."""
    with h5py.File(RUN) as file:
        rows = [file["weights"][name][()].reshape(len(file["step"]), -1) for name in names]
    return np.diff(np.concatenate(rows, axis=1).astype(np.float64), axis=0).T


def modes_in(file: h5py.File, names: tuple[str, ...]) -> np.ndarray:
    """Return complex128 [weights, modes]."""
    return np.concatenate([file[name][()].reshape(-1, file[name].shape[-1]) for name in names])


def test_exact_modes_are_eigenvectors_of_the_law_of_the_recorded_increments(call, tmp_path):
    """The mode of eigenvalue l is Y V S^-1 q / l, so Y pinv(X) mode = l mode."""
    target = tmp_path / "modes.h5"
    code, out, err = call("modes", str(RUN), "-o", str(target), "--rank", "3", "--scope", "head")
    assert (code, out) == (0, "")
    assert "Wrote 3 of 3 exact modes of head to " in err
    Y = increments(HEAD)
    X, Y = Y[:, :-1], Y[:, 1:]
    norms = np.linalg.norm(X, axis=0)  # the columns are scaled to unit norm before the truncation
    U, S, Vh = np.linalg.svd(X / norms, full_matrices=False)
    A = (Y / norms) @ Vh[:3].T / S[:3] @ U[:, :3].T
    with h5py.File(target) as file:
        assert file["head.weight"].shape == (10, 32, 3)
        assert set(file) == set(HEAD)
        found = modes_in(file, HEAD)
        eigenvalues = np.array([complex(*pair) for pair in json.loads(file.attrs["eigenvalues"])])
        assert file.attrs["run"] == "mlp_sgd.h5"
        assert file.attrs["koopscope"] == koopscope.__version__
    np.testing.assert_allclose(A @ found, found * eigenvalues, atol=1e-8 * np.abs(found).max())


def test_projected_modes_have_unit_length(call, tmp_path):
    target = tmp_path / "modes.npz"
    code, _, err = call(
        "modes", str(RUN), "-o", str(target), "--which", "1,3-4", "--kind", "projected"
    )
    assert code == 0
    assert [line.split(":")[0] for line in err.splitlines()[:3]] == ["mode 1", "mode 3", "mode 4"]
    with np.load(target) as arrays:
        whole = np.concatenate(
            [arrays[name].reshape(-1, 3) for name in arrays.files if name != "__metadata__"]
        )
        facts = json.loads(str(arrays["__metadata__"]))
    np.testing.assert_allclose(np.linalg.norm(whole, axis=0), 1.0, rtol=1e-9)
    assert facts["kind"] == "projected"


@pytest.mark.parametrize("observable", ["weights", "centered", "raw"])
def test_the_modes_of_any_observable_are_written(call, tmp_path, observable):
    target = tmp_path / "modes.h5"
    arguments = ("--observable", observable, "--rank", "4", "--which", "0", "--which", "2")
    assert call("modes", str(RUN), "-o", str(target), *arguments)[0] == 0
    spectrum = koopscope.analyze(str(RUN), observable=observable, rank=4).spectrum("network")
    with h5py.File(target) as file:
        assert file.attrs["observable"] == observable
        written = [complex(*pair) for pair in json.loads(file.attrs["eigenvalues"])]
    assert written == list(spectrum.eigenvalues[[0, 2]])


def test_the_index_of_a_mode_is_told_with_its_eigenvalue(call, tmp_path):
    _, _, err = call("modes", str(RUN), "-o", str(tmp_path / "m.h5"))
    spectrum = koopscope.analyze(str(RUN)).spectrum("network")
    first = spectrum.eigenvalues[0]
    assert err.startswith(f"mode 0: eigenvalue {first.real:.4f}, magnitude {abs(first):.4f}\n")
    assert f"and {spectrum.rank - 10} more, which --verbose lists" in err
    _, _, err = call("modes", str(RUN), "-o", str(tmp_path / "n.h5"), "-v")
    assert f"mode {spectrum.rank - 1}: " in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--which", "99"), "error: there is no mode 99: the spectrum has"),
        (("--which", "-1"), "error: invalid value for '--which': '-1' is not an index"),
        (("--which", "3-1"), "error: invalid value for '--which': '3-1' counts no modes"),
        (("--which", "0-9999999"), "error: invalid value for '--which'"),
        (("--which", "one"), "error: invalid value for '--which': 'one' is not an index"),
        (("--scope", "tail"), "error: "),
        (("--kind", "exotic"), "error: invalid value for '--kind'"),
        (("--window", "0:40"), "error: 2 snapshots are too few for a spectrum of increments"),
    ],
)
def test_what_cannot_be_written_is_refused_in_one_sentence(call, tmp_path, arguments, message):
    target = tmp_path / "modes.h5"
    code, out, err = call("modes", str(RUN), "-o", str(target), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert "\nhint: " in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["modes.safetensors", "modes.csv", "modes", "no/modes.h5"])
def test_a_name_that_modes_cannot_be_written_under_is_refused_before_reading(call, tmp_path, name):
    code, _, err = call("modes", str(tmp_path / "absent.h5"), "-o", str(tmp_path / name))
    assert code == 2
    assert "absent.h5" not in err.splitlines()[0]


def test_an_existing_file_is_kept_and_the_run_is_never_replaced(call, tmp_path):
    run, target = tmp_path / "run.h5", tmp_path / "modes.h5"
    run.write_bytes(RUN.read_bytes())
    target.write_bytes(b"precious")
    assert call("modes", str(run), "-o", str(target))[0] == 2
    assert target.read_bytes() == b"precious"
    assert call("modes", str(run), "-o", str(target), "--force")[0] == 0
    code, _, err = call("modes", str(run), "-o", str(run), "--force")
    assert code == 2
    assert "is an input of this command" in err
    assert run.read_bytes() == RUN.read_bytes()


def test_a_run_that_does_not_move_has_no_modes(call, tmp_path):
    run = tmp_path / "still.h5"
    model = {"w": np.ones((3, 2), np.float32)}
    with koopscope.Recorder(str(run)) as recorder:
        for step in range(6):
            recorder.snapshot(step, model)
    code, _, err = call("modes", str(run), "-o", str(tmp_path / "modes.h5"))
    assert code == 2
    assert err.startswith("error: the spectrum of network has no mode: its weights do not move")
    assert not (tmp_path / "modes.h5").exists()
