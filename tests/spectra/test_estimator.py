"""``koopscope.DMD`` is PyDMD's DMD, on arrays and on datasets that are read in blocks."""

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.spectra import estimator
from tests.frameworks import framework
from tests.known_systems import EIGENVALUES, distance, trajectory

pytestmark = pytest.mark.filterwarnings("ignore:Input data condition number")


@pytest.fixture(name="X")
def noisy_matrix():
    rng = np.random.default_rng(0)
    snapshots = trajectory(size=400) + 1e-2 * rng.standard_normal((24, 400))
    return np.ascontiguousarray(snapshots.T)


def assert_same(ours, peer):
    order = [int(np.abs(ours.eigs - value).argmin()) for value in peer.eigs]
    assert sorted(order) == list(range(len(order)))
    np.testing.assert_allclose(ours.eigs[order], peer.eigs, rtol=1e-8)
    np.testing.assert_allclose(ours.frequency[order], peer.frequency, atol=1e-9)
    np.testing.assert_allclose(np.abs(ours.amplitudes[order]), np.abs(peer.amplitudes), rtol=1e-6)
    scale = np.abs(peer.reconstructed_data).max()
    np.testing.assert_allclose(ours.reconstructed_data, peer.reconstructed_data, atol=1e-8 * scale)
    for mine, other in zip(ours.modes[:, order].T, peer.modes.T, strict=True):
        phase = np.vdot(mine, other) / np.abs(np.vdot(mine, other))
        assert np.linalg.norm(mine * phase - other) <= 1e-7 * np.linalg.norm(other)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("rank", [7, 0, 0.999, np.int64(5)])
def test_results_are_those_of_pydmd(X, rank, exact):
    pydmd = framework("pydmd")
    ours = koopscope.DMD(rank=rank, exact=exact).fit(X)
    assert_same(ours, pydmd.DMD(svd_rank=rank if rank != 5 else 5, exact=exact).fit(X))


def test_a_pair_of_matrices_is_fitted_as_pydmd_fits_it(X):
    pydmd = framework("pydmd")
    Y = np.roll(X, 3, axis=0) * 0.9
    ours = koopscope.DMD(svd_rank=6, exact=True).fit(X, Y)
    peer = pydmd.DMD(svd_rank=6, exact=True).fit(X, Y)
    assert distance(ours.eigs, peer.eigs) <= 1e-8
    assert ours.modes.shape == peer.modes.shape


@pytest.mark.parametrize("motion", [1e-2, 1e-4, 1e-6])
def test_small_motion_around_a_large_constant_is_resolved(motion):
    snapshots = trajectory(motion=motion)
    found = koopscope.DMD(rank=7).fit(snapshots.T)
    assert distance(found.eigs, np.append(EIGENVALUES, 1.0)) <= 1e-14 / motion
    assert distance(found.eigs, np.append(EIGENVALUES, 1.0)) <= 1e-8


def test_a_dataset_gives_the_same_results_as_the_array_it_holds(X, tmp_path, monkeypatch):
    monkeypatch.setattr(estimator, "_BLOCK_BYTES", 8 * 24 * 30)  # thirty rows at a time
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"] = X
        stored = koopscope.DMD(rank=5, exact=True).fit(file["X"])
        assert [start for start, _ in stored.mode_blocks()] == list(range(0, 400, 30))
        modes = stored.modes
    held = koopscope.DMD(rank=5, exact=True).fit(X)
    np.testing.assert_allclose(stored.eigs, held.eigs, rtol=1e-10)
    np.testing.assert_allclose(np.abs(modes), np.abs(held.modes), rtol=1e-7, atol=1e-12)


def test_rates_are_per_unit_of_time():
    t = np.arange(20)
    X = np.outer([1.0, 2.0, 3.0], 0.9**t * np.cos(0.3 * t)) + np.outer(
        [2.0, -1.0, 0.5], 0.9**t * np.sin(0.3 * t)
    )
    found = koopscope.DMD(rank=2, dt=0.1).fit(X)
    np.testing.assert_allclose(np.abs(found.frequency), 0.3 / (2 * np.pi * 0.1), rtol=1e-9)
    np.testing.assert_allclose(found.growth_rate, np.log(0.9) / 0.1, rtol=1e-9)
    assert found.dynamics.shape == (2, 20)
    np.testing.assert_allclose(found.reconstructed_data, X, atol=1e-9)


def test_the_held_out_rank_can_be_asked_for():
    found = koopscope.DMD(rank="auto").fit(trajectory([0.97, 0.6], snapshots=30).T)
    assert found.svd_rank == "auto"
    assert found.rank == 3


def test_integers_and_single_precision_are_taken():
    X = np.array([[1, 2, 4, 8], [3, 6, 12, 24]], np.int32)
    np.testing.assert_allclose(koopscope.DMD(rank=1).fit(X).eigs, [2.0], rtol=1e-12)
    np.testing.assert_allclose(koopscope.DMD(rank=1).fit(X.astype("f4")).eigs, [2.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (np.ones(5), None, "X is not a matrix"),
        ([[1.0, 2.0]], None, "X is not a matrix but list"),
        (np.ones((4, 1)), None, "too small"),
        (np.ones((3, 4), complex), None, "X holds complex128 values"),
        (np.ones((3, 4)), np.ones((3, 5)), r"X has shape \(3, 4\) but Y \(3, 5\)"),
        (np.array([[1.0, np.nan, 2.0]]), None, "column 1 of X holds 1 values"),
        (np.ones((1, 2)), np.array([[1.0, np.inf]]), "column 1 of Y holds 1 values"),
    ],
)
def test_data_that_cannot_be_decomposed_is_named(X, Y, message):
    with pytest.raises(KoopscopeError, match=message):
        koopscope.DMD().fit(X, Y)


def test_an_unfitted_estimator_says_so():
    with pytest.raises(KoopscopeError, match="was not fitted"):
        _ = koopscope.DMD().modes
    with pytest.raises(KoopscopeError, match="a time step of 0"):
        koopscope.DMD(dt=0)
