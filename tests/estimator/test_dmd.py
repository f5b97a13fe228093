"""``koopscope.DMD`` is PyDMD's DMD, on arrays and on datasets that are read in blocks."""

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.estimator import columns
from tests.frameworks import framework
from tests.known_systems import EIGENVALUES, distance, trajectory

pytestmark = pytest.mark.filterwarnings("ignore:Input data condition number")


@pytest.fixture(name="X")
def noisy_matrix():
    rng = np.random.default_rng(0)
    snapshots = trajectory(size=400) + 1e-2 * rng.standard_normal((24, 400))
    return np.ascontiguousarray(snapshots.T)


@pytest.fixture(name="peer_of")
def fitted_peer():
    return framework("pydmd").DMD


def assert_same(ours, peer):
    order = [int(np.abs(ours.eigs - value).argmin()) for value in peer.eigs]
    assert sorted(order) == list(range(len(order)))
    np.testing.assert_allclose(ours.eigs[order], peer.eigs, rtol=1e-8)
    frequency = ours.frequency[order]
    np.testing.assert_allclose(np.abs(frequency), np.abs(peer.frequency), atol=1e-9)
    # Half a turn a step, either way round: the sign of a negative eigenvalue's angle is rounding.
    signed = np.abs(np.angle(peer.eigs)) < np.pi - 1e-9
    np.testing.assert_allclose(frequency[signed], peer.frequency[signed], atol=1e-9)
    np.testing.assert_allclose(np.abs(ours.amplitudes[order]), np.abs(peer.amplitudes), rtol=1e-6)
    scale = np.abs(peer.reconstructed_data).max()
    np.testing.assert_allclose(ours.reconstructed_data, peer.reconstructed_data, atol=1e-8 * scale)
    for mine, other in zip(ours.modes[:, order].T, peer.modes.T, strict=True):
        phase = np.vdot(mine, other) / np.abs(np.vdot(mine, other))
        assert np.linalg.norm(mine * phase - other) <= 1e-7 * np.linalg.norm(other)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("rank", [7, 0, 0.999, np.int64(5)])
@pytest.mark.parametrize("values", ["real", "complex"])
def test_results_are_those_of_pydmd(X, rank, exact, values, peer_of):
    if values == "complex":
        X = X * np.exp(1j * np.arange(len(X)))[:, None] * np.exp(0.2j * np.arange(X.shape[1]))
    ours = koopscope.DMD(rank=rank, exact=exact).fit(X)
    # PyDMD takes np.int64(5) as no truncation.
    assert_same(ours, peer_of(svd_rank=rank if rank != 5 else 5, exact=exact).fit(X))


OPTIONS = {
    "opt": {"opt": True, "exact": True},
    "opt_last": {"opt": -1},
    "tlsq": {"tlsq_rank": 9},
    "rescaled": {"rescale_mode": "auto"},
    "rescaled_by": {"rescale_mode": np.linspace(5, 10, 7), "exact": True},
}


@pytest.mark.parametrize("values", ["real", "complex"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_do_what_they_do_in_pydmd(X, values, options, peer_of):
    if values == "complex":
        X = X * np.exp(1j * np.arange(len(X)))[:, None]
    ours = koopscope.DMD(svd_rank=7, **options).fit(X)
    peer = peer_of(svd_rank=7, **options).fit(X)
    assert_same(ours, peer)
    ahead = peer.predict(X)
    np.testing.assert_allclose(ours.predict(X), ahead, atol=1e-8 * np.abs(ahead).max())


@pytest.mark.parametrize("rule", ["abs", "real"])
def test_eigenvalues_are_sorted_as_pydmd_sorts_them(X, rule, peer_of):
    ours = koopscope.DMD(svd_rank=7, sorted_eigs=rule).fit(X)
    peer = peer_of(svd_rank=7, sorted_eigs=rule).fit(X)
    # Conjugates have one magnitude: their order is rounding's.
    np.testing.assert_allclose(ours.eigs.real, peer.eigs.real, rtol=1e-8)
    np.testing.assert_allclose(np.abs(ours.eigs.imag), np.abs(peer.eigs.imag), atol=1e-8)
    keys = np.abs(ours.eigs) if rule == "abs" else ours.eigs.real
    assert (np.diff(keys) >= -1e-12).all()


@pytest.mark.parametrize("times", [{"t0": 3, "tend": 40, "dt": 0.5}, {"t0": 0, "tend": 5, "dt": 1}])
def test_other_times_show_what_pydmd_shows(X, times, peer_of):
    X = X * np.exp(0.1j * np.arange(X.shape[1]))  # no eigenvalue on the branch cut of powers
    ours, peer = koopscope.DMD(svd_rank=5, opt=2).fit(X), peer_of(svd_rank=5, opt=2).fit(X)
    for dmd in (ours, peer):
        for key, value in times.items():
            dmd.dmd_time[key] = value
    np.testing.assert_allclose(ours.dmd_timesteps, peer.dmd_timesteps)
    scale = np.abs(peer.reconstructed_data).max()
    np.testing.assert_allclose(ours.reconstructed_data, peer.reconstructed_data, atol=1e-8 * scale)


def test_a_pair_of_matrices_is_fitted_as_pydmd_fits_it(X, peer_of):
    Y = np.roll(X, 3, axis=0) * 0.9
    ours = koopscope.DMD(svd_rank=6, exact=True).fit(X, Y)
    peer = peer_of(svd_rank=6, exact=True).fit(X, Y)
    assert distance(ours.eigs, peer.eigs) <= 1e-8
    assert ours.modes.shape == peer.modes.shape


@pytest.mark.parametrize("motion", [1e-2, 1e-4, 1e-6])
def test_small_motion_around_a_large_constant_is_resolved(motion):
    snapshots = trajectory(motion=motion)
    found = koopscope.DMD(rank=7).fit(snapshots.T)
    assert distance(found.eigs, np.append(EIGENVALUES, 1.0)) <= 1e-14 / motion
    assert distance(found.eigs, np.append(EIGENVALUES, 1.0)) <= 1e-8


def test_a_dataset_gives_the_same_results_as_the_array_it_holds(X, tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_BYTES", 8 * 24 * 30)  # thirty rows at a time
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
        ([[1.0, 2.0]], None, r"a matrix of shape \(2, 1\) is too small"),
        ([[1.0, 2.0], [1.0]], None, r"list of 2 snapshots of shapes \[1\], \[2\]"),
        ([1.0, 2.0], None, r"list of 2 snapshots of shapes \[\]"),
        (object(), None, "X is not a matrix but object of shape None"),
        (np.ones((4, 1)), None, "too small"),
        (np.ones((3, 4), bool), None, "X holds bool values"),
        (np.array([[1.0, 1j * np.inf, 2.0]]), None, "column 1 of X holds 1 values"),
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
