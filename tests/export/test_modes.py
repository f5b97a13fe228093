"""Modes leave in one pass, in each tensor's own shape, and are the modes of the whole matrix."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope import KoopscopeError
from koopscope.analysis.analysis import Analysis, Settings
from koopscope.export.modes import ModeChoice, write_modes
from koopscope.runs.detect.opening import open_run

SAMPLE = Path(__file__).parents[1] / "sample_runs" / "mlp_sgd.h5"


def snapshots() -> tuple[list[str], np.ndarray]:
    with h5py.File(SAMPLE) as file:
        names = list(file["weights"])
        rows = [file["weights"][name][()].reshape(len(file["step"]), -1) for name in names]
    return names, np.concatenate(rows, axis=1).astype(np.float64)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_written_modes_are_those_of_the_snapshot_matrix(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"modes{suffix}"
    with open_run(SAMPLE) as run:
        analysis = Analysis.of(run, Settings(rank=4))
        write_modes(run, analysis, target, ModeChoice(which=[0, 2]))
    spectrum = analysis.spectrum()
    names, W = snapshots()
    Y = np.diff(W, axis=0)[1:].T
    expected = Y @ spectrum.exact_coefficients()[:, [0, 2]]

    if suffix == ".h5":
        with h5py.File(target) as file:
            found = {name: file[name][()] for name in names}
            eigenvalues = json.loads(file.attrs["eigenvalues"])
    else:
        with np.load(target) as loaded:
            found = {name: loaded[name] for name in names}
            eigenvalues = json.loads(json.loads(str(loaded["__metadata__"]))["eigenvalues"])
    flat = np.concatenate([found[name].reshape(-1, 2) for name in names])
    np.testing.assert_allclose(flat, expected, atol=1e-12 * np.abs(expected).max())
    assert [complex(*pair) for pair in eigenvalues] == [
        spectrum.eigenvalues[0],
        spectrum.eigenvalues[2],
    ]
    with h5py.File(SAMPLE) as file:
        shapes = {name: file["weights"][name].shape[1:] for name in names}
    assert {name: array.shape[:-1] for name, array in found.items()} == shapes


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with open_run(SAMPLE) as run:
        analysis = Analysis.of(run, Settings(rank=4))
        with pytest.raises(KoopscopeError, match="no mode 9"):
            write_modes(run, analysis, tmp_path / "m.h5", ModeChoice(which=[9]))
        with pytest.raises(KoopscopeError, match="complex"):
            write_modes(run, analysis, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
