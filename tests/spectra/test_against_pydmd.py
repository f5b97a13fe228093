"""On real recorded training: eigenvalues, singular values and modes are PyDMD's, to 1e-8."""

from pathlib import Path

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.runs.detect.opening import open_run
from tests.frameworks import framework

pydmd = framework("pydmd")
FOLDER = Path(__file__).parents[2] / "sample_runs"
RANK = 6


@pytest.mark.filterwarnings("ignore:Input data condition number")
@pytest.mark.parametrize("observable", ["increments", "raw"])
@pytest.mark.parametrize("name", ["mlp_sgd", "cnn_adam", "transformer"])
def test_a_sample_run_has_the_spectrum_that_pydmd_finds(name, observable):
    with open_run(FOLDER / f"{name}.h5") as run:
        analysis = Analysis.of(run, Settings(rank=RANK, observable=observable))
        window = slice(analysis.window.first, analysis.window.stop)
        blocks = run.blocks(analysis.members())
        weights = np.concatenate([b.values[window].astype(np.float64) for b in blocks], axis=1)
        found = np.concatenate([block.values for block in analysis.modes(run)])
    spectrum = analysis.spectrum()
    values = np.diff(weights, axis=0) if observable == "increments" else weights
    X, Y = values[:-1].T / spectrum.scales, values[1:].T / spectrum.scales
    peer = pydmd.DMD(svd_rank=RANK, exact=True).fit(X, Y)

    expected = np.linalg.svd(X, compute_uv=False)
    np.testing.assert_allclose(spectrum.singular_values[:RANK], expected[:RANK], rtol=1e-8)
    for j in np.flatnonzero(spectrum.shares >= 0.01):
        twin = int(np.abs(peer.eigs - spectrum.eigenvalues[j]).argmin())
        assert abs(peer.eigs[twin] - spectrum.eigenvalues[j]) <= 1e-8
        if observable == "increments":
            mode = peer.modes[:, twin] / peer.eigs[twin]
            mode *= np.vdot(mode, found[:, j]) / np.abs(np.vdot(mode, found[:, j]))
            assert np.linalg.norm(mode - found[:, j]) <= 1e-8 * np.linalg.norm(mode)
