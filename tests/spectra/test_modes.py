"""The second pass: modes are eigenvectors of Y X^+, agree with PyDMD's, and rebuild the data."""

from dataclasses import dataclass

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.modes import modes, observable_values
from tests.frameworks import framework
from tests.known_systems import trajectory


@dataclass
class Piece:
    tensor: str
    start: int
    values: np.ndarray


def in_blocks(snapshots: np.ndarray, width: int = 37) -> list[Piece]:
    return [
        Piece("w", start, snapshots[:, start : start + width])
        for start in range(0, snapshots.shape[1], width)
    ]


def whole_modes(snapshots: np.ndarray, spectrum, window: slice = slice(None), **asked):
    parts = modes(spectrum, in_blocks(snapshots), window, **asked)
    return np.concatenate([part.values for part in parts])


@pytest.mark.filterwarnings("ignore:Input data condition number")
@pytest.mark.parametrize("kind", ["exact", "projected"])
def test_modes_agree_with_pydmd_up_to_its_scaling(kind):
    pydmd = framework("pydmd")
    snapshots = trajectory(size=300)
    spectrum = dmd(gram_of(snapshots), rank=6)
    increments = np.diff(snapshots, axis=0).T
    X, Y = increments[:, :-1] / spectrum.scales, increments[:, 1:] / spectrum.scales
    peer = pydmd.DMD(svd_rank=6, exact=kind == "exact").fit(X, Y)
    found = whole_modes(snapshots, spectrum, kind=kind)
    for j, value in enumerate(spectrum.eigenvalues):
        twin = peer.modes[:, np.abs(peer.eigs - value).argmin()]
        if kind == "exact":
            twin = twin / value
        overlap = np.vdot(twin, found[:, j])
        assert np.abs(overlap) == pytest.approx(np.vdot(twin, twin).real, rel=1e-8)
        assert np.linalg.norm(found[:, j]) == pytest.approx(np.linalg.norm(twin), rel=1e-8)


@pytest.mark.parametrize("observable", ["increments", "weights", "centered", "raw"])
def test_modes_rebuild_the_observable(observable):
    snapshots = trajectory(size=300)
    rank = 6 if observable == "increments" else 7
    spectrum = dmd(gram_of(snapshots), observable, rank=rank)
    found = whole_modes(snapshots, spectrum)
    powers = spectrum.eigenvalues ** np.arange(spectrum.pairs + 1)[:, None]
    rebuilt = (powers * spectrum.coordinates) @ found.T
    expected = observable_values(snapshots, observable)
    np.testing.assert_allclose(rebuilt, expected, atol=1e-8 * np.abs(expected).max())


def test_modes_of_the_increments_are_the_directions_that_were_put_in():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 120))
    t = np.arange(15)[:, None]
    snapshots = 1.0 + 0.9**t * first + 0.4**t * second
    spectrum = dmd(gram_of(snapshots), rank=2)
    found = whole_modes(snapshots, spectrum)
    for j, direction in enumerate(
        (first, second) if spectrum.eigenvalues[0] > 0.6 else (second, first)
    ):
        cosine = np.abs(np.vdot(found[:, j], direction)) / np.linalg.norm(found[:, j])
        assert cosine == pytest.approx(np.linalg.norm(direction), rel=1e-8)


def test_a_window_takes_its_own_snapshots_out_of_the_blocks():
    snapshots = trajectory(size=100)
    spectrum = dmd(gram_of(snapshots).window(5, 20), rank=6)
    alone = dmd(gram_of(snapshots[5:20]), rank=6)
    found = whole_modes(snapshots, spectrum, slice(5, 20)) * spectrum.coordinates
    expected = whole_modes(snapshots[5:20], alone) * alone.coordinates
    for column in found.T:
        nearest = np.linalg.norm(expected - column[:, None], axis=0).min()
        assert nearest <= 1e-6 * np.linalg.norm(column)


def test_only_the_wanted_modes_are_computed():
    snapshots = trajectory(size=50)
    spectrum = dmd(gram_of(snapshots), rank=6)
    some = whole_modes(snapshots, spectrum, which=[2, 0])
    np.testing.assert_allclose(some, whole_modes(snapshots, spectrum)[:, [2, 0]], rtol=1e-12)


def test_the_exact_mode_of_a_vanishing_eigenvalue_is_refused():
    snapshots = np.zeros((4, 3))
    snapshots[1:] = [1.0, 0.0, 0.0]
    spectrum = dmd(gram_of(snapshots), rank=1)
    with pytest.raises(KoopscopeError, match="eigenvalue is zero"):
        whole_modes(snapshots, spectrum)
    np.testing.assert_allclose(whole_modes(snapshots, spectrum, kind="projected")[0], 1.0)
