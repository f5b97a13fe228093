"""What people use of PyDMD's DMD, in ``koopscope.DMD``: closed forms, no peer needed."""

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.estimator.timeline import Timeline

#: Not in conjugate pairs, one of them to the left of the imaginary axis.
VALUES = np.array([0.98 * np.exp(0.4j), 0.9 * np.exp(-1.1j), -0.7, 0.5j])
SIZE, SNAPSHOTS = 60, 15


def complex_matrix(values=VALUES, noise=0.0, seed=0, snapshots=SNAPSHOTS):
    rng = np.random.default_rng(seed)
    shape = (SIZE, len(values))
    modes = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    X = modes @ np.asarray(values)[:, None] ** np.arange(snapshots)
    noises = rng.standard_normal((2, *X.shape))
    return X + noise * (noises[0] + 1j * noises[1])


def in_order(found):
    return [int(np.abs(found - value).argmin()) for value in VALUES]


@pytest.mark.parametrize("dtype", ["complex128", "complex64"])
@pytest.mark.parametrize("exact", [False, True])
def test_complex_eigenvalues_that_were_put_in_are_found(exact, dtype):
    X = complex_matrix().astype(dtype)
    found = koopscope.DMD(svd_rank=4, exact=exact).fit(X)
    tolerance = 1e-10 if dtype == "complex128" else 1e-4
    np.testing.assert_allclose(found.eigs[in_order(found.eigs)], VALUES, atol=tolerance)
    np.testing.assert_allclose(found.reconstructed_data, X, atol=100 * tolerance)
    np.testing.assert_allclose(found.growth_rate, np.log(np.abs(found.eigs)), rtol=1e-12)


def test_the_operator_moves_reduced_coordinates_and_has_the_eigenpairs():
    found = koopscope.DMD(svd_rank=4).fit(complex_matrix())
    operator = found.operator
    assert operator.shape == (4, 4)
    moved = operator(operator.eigenvectors)
    np.testing.assert_allclose(moved, operator.eigenvectors * operator.eigenvalues, atol=1e-12)
    np.testing.assert_array_equal(np.asarray(operator), found.atilde)
    np.testing.assert_array_equal(operator.as_numpy_array, found.atilde)


@pytest.mark.parametrize("opt", [False, True, 0, 3, -1])
def test_amplitudes_of_exact_data_rebuild_them_whatever_they_were_fitted_to(opt):
    X = complex_matrix([0.98 * np.exp(0.4j), 0.9 * np.exp(-1.1j)])
    found = koopscope.DMD(svd_rank=2, opt=opt).fit(X)
    np.testing.assert_allclose(found.reconstructed_data, X, atol=1e-10)


def test_optimal_amplitudes_are_the_least_squares_over_all_snapshots():
    X = complex_matrix(noise=0.3)
    found = koopscope.DMD(svd_rank=3, opt=True).fit(X)
    best = np.linalg.norm(found.reconstructed_data - X)
    rng = np.random.default_rng(1)
    powers = found.eigs[:, None] ** np.arange(SNAPSHOTS)
    for _ in range(20):
        off = 1e-3 * (rng.standard_normal(3) + 1j * rng.standard_normal(3))
        other = found.modes @ ((found.amplitudes + off)[:, None] * powers)
        assert np.linalg.norm(other - X) > best
    first = koopscope.DMD(svd_rank=3).fit(X)
    assert np.linalg.norm(first.reconstructed_data - X) > best


def test_rescaling_changes_lengths_of_modes_and_nothing_else():
    X = complex_matrix()
    plain = koopscope.DMD(svd_rank=4).fit(X)
    for mode in ("auto", np.array([5.0, 1.0, 2.0, 8.0])):
        other = koopscope.DMD(svd_rank=4, rescale_mode=mode).fit(X)
        order = [int(np.abs(other.eigs - value).argmin()) for value in plain.eigs]
        np.testing.assert_allclose(other.eigs[order], plain.eigs, atol=1e-10)
        for one, two in zip(plain.modes.T, other.modes[:, order].T, strict=True):
            alike = np.abs(np.vdot(one, two)) / np.linalg.norm(one) / np.linalg.norm(two)
            assert alike == pytest.approx(1.0, abs=1e-10)
        np.testing.assert_allclose(other.reconstructed_data, X, atol=1e-8)
    with pytest.raises(ValueError, match="rescale_mode has 3 numbers for 4 modes"):
        koopscope.DMD(svd_rank=4, rescale_mode=[1.0, 2.0, 3.0]).fit(X)


@pytest.mark.parametrize("values", ["real", "complex"])
def test_forward_backward_leaves_exact_data_and_removes_the_noise_bias(values):
    truth = VALUES if values == "complex" else np.array([0.95, 0.8, -0.7])
    X = complex_matrix(truth, snapshots=40)
    if values == "real":
        X = X.real
    found = koopscope.DMD(svd_rank=len(truth), forward_backward=True).fit(X).eigs
    assert max(np.abs(found - value).min() for value in truth) <= 1e-9
    assert np.iscomplexobj(koopscope.DMD(svd_rank=2, forward_backward=True).fit(X).atilde) == (
        values == "complex"
    )
    # One undamped direction under sensor noise: plain DMD shrinks it, the correction does not.
    plain, corrected = [], []
    for seed in range(20):
        turning = [np.exp(0.5j)] if values == "complex" else [1.0]
        Z = complex_matrix(turning, noise=0.8, seed=seed, snapshots=40)
        Z = Z if values == "complex" else Z.real
        plain.append(abs(koopscope.DMD(svd_rank=1).fit(Z).eigs[0]))
        corrected.append(abs(koopscope.DMD(svd_rank=1, forward_backward=True).fit(Z).eigs[0]))
    assert abs(np.mean(corrected) - 1.0) < 0.3 * abs(np.mean(plain) - 1.0)


def test_total_least_squares_removes_the_noise_bias():
    off = {0: [], 1: []}
    for seed in range(20):
        X = complex_matrix([np.exp(0.5j)], noise=0.5, seed=seed, snapshots=40)
        for rank, found in off.items():
            found.append(abs(koopscope.DMD(svd_rank=1, tlsq_rank=rank).fit(X).eigs[0]) - 1.0)
    assert abs(np.mean(off[1])) < 0.5 * abs(np.mean(off[0]))


def test_times_say_what_is_shown():
    X = complex_matrix()
    found = koopscope.DMD(svd_rank=4, dt=0.5).fit(X)
    assert found.original_time == {"t0": 0, "tend": 7.0, "dt": 0.5}
    assert found.dmd_time == found.original_time
    np.testing.assert_array_equal(found.original_timesteps, 0.5 * np.arange(SNAPSHOTS))
    found.dmd_time["t0"], found.dmd_time["tend"] = 5.0, 6.0
    np.testing.assert_allclose(found.reconstructed_data, X[:, 10:13], atol=1e-9)
    assert found.original_time["tend"] == 7.0
    found.dmd_time = {"t0": 8.0, "tend": 8.0, "dt": 0.25}
    later = complex_matrix(snapshots=17)[:, 16:]
    np.testing.assert_allclose(found.reconstructed_data, later, atol=1e-9)
    # Half a step from 0 takes the principal root of each eigenvalue.
    found.dmd_time = {"t0": 0.0, "tend": 0.25, "dt": 0.25}
    np.testing.assert_allclose(
        found.dynamics[:, 1], found.amplitudes * np.sqrt(found.eigs), rtol=1e-10
    )
    found.original_time["dt"] = 0.1
    np.testing.assert_allclose(found.frequency, np.angle(found.eigs) / (0.2 * np.pi), rtol=1e-12)


@pytest.mark.parametrize("steps", [3, 7, 12, 121])
@pytest.mark.parametrize("dt", [0.1, 0.3, 1e-3, 7.7])
def test_no_time_is_lost_or_added_by_rounding(steps, dt):
    times = Timeline.of_snapshots(steps, dt).steps()
    assert len(times) == steps
    assert times[-1] == pytest.approx((steps - 1) * dt)


def test_times_that_make_no_sense_are_refused():
    found = koopscope.DMD(svd_rank=4).fit(complex_matrix())
    with pytest.raises(KeyError, match="stop"):
        found.dmd_time["stop"] = 3
    with pytest.raises(KoopscopeError, match="dt cannot be 0"):
        found.dmd_time["dt"] = 0
    with pytest.raises(KoopscopeError, match="t0, tend, dt"):
        found.dmd_time = {"t0": 0}
    found.dmd_time["tend"] = -3
    with pytest.raises(KoopscopeError, match="before it begins at 0"):
        _ = found.dynamics


def test_a_mask_chooses_modes_and_can_be_taken_back():
    X = complex_matrix()
    found = koopscope.DMD(svd_rank=4, sorted_eigs="abs").fit(X)
    eigs, modes, b = found.eigs, found.modes, found.amplitudes
    assert found.modes_activation_bitmask.all()
    with pytest.raises(ValueError, match="read-only"):
        found.modes_activation_bitmask[0] = False
    mask = np.array([True, False, True, False])
    found.modes_activation_bitmask = mask
    np.testing.assert_array_equal(found.eigs, eigs[mask])
    np.testing.assert_array_equal(found.modes, modes[:, mask])
    np.testing.assert_array_equal(found.amplitudes, b[mask])
    assert (found.rank, found.dynamics.shape) == (2, (2, SNAPSHOTS))
    part = modes[:, mask] @ (b[mask, None] * eigs[mask, None] ** np.arange(SNAPSHOTS))
    np.testing.assert_allclose(found.reconstructed_data, part, atol=1e-10)
    found.modes_activation_bitmask = ~np.zeros(4, bool)
    np.testing.assert_allclose(found.reconstructed_data, X, atol=1e-9)
    with pytest.raises(RuntimeError, match="a bitmask of float64 values"):
        found.modes_activation_bitmask = np.full(4, 0.1)
    with pytest.raises(ValueError, match=r"shape \[3\] for 4 modes"):
        found.modes_activation_bitmask = np.ones(3, bool)


@pytest.mark.parametrize(
    ("key", "chosen"),
    [(2, [2]), (np.int64(1), [1]), (-1, [3]), (slice(1, None, 2), [1, 3]), ([0, -1], [0, 3])],
)
def test_an_index_gives_a_copy_with_those_modes(key, chosen):
    found = koopscope.DMD(svd_rank=4).fit(complex_matrix())
    part = found[key]
    np.testing.assert_array_equal(part.modes, found.modes[:, chosen])
    np.testing.assert_array_equal(part.eigs, found.eigs[chosen])
    part.dmd_time["tend"] = 3
    assert (found.rank, found.dmd_time["tend"]) == (4, SNAPSHOTS - 1)


@pytest.mark.parametrize("key", [1.0, "a", [0, 1, 0], [0, 4], [True, False, True, True], [0, -4]])
def test_what_names_no_modes_is_refused(key):
    found = koopscope.DMD(svd_rank=4).fit(complex_matrix())
    with pytest.raises(ValueError, match="mode"):
        found[key]


def test_one_step_ahead_is_predicted():
    X = complex_matrix()
    found = koopscope.DMD(svd_rank=4).fit(X)
    np.testing.assert_allclose(found.predict(X[:, :-1]), X[:, 1:], atol=1e-9)
    np.testing.assert_allclose(found.predict(X[:, 3]), X[:, 4], atol=1e-9)
    with pytest.raises(ValueError, match="3 features cannot be predicted by modes of 60"):
        found.predict(np.ones((3, 2)))


def test_snapshots_of_any_shape_are_flattened(tmp_path):
    X = complex_matrix()
    flat = koopscope.DMD(svd_rank=4, exact=True).fit(X)
    cube = X.reshape(3, 4, 5, SNAPSHOTS)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"] = cube
        for given in (cube, list(np.moveaxis(cube, -1, 0)), file["X"]):
            found = koopscope.DMD(svd_rank=4, exact=True).fit(given)
            assert found.snapshots_shape == (3, 4, 5)
            np.testing.assert_array_equal(found.snapshots, X)
            np.testing.assert_allclose(found.modes, flat.modes, atol=1e-12)
    assert flat.snapshots_y is None
    pair = koopscope.DMD(svd_rank=4).fit(cube[..., :-1], cube[..., 1:])
    np.testing.assert_array_equal(pair.snapshots_y, X[:, 1:])
    np.testing.assert_allclose(pair.eigs[in_order(pair.eigs)], VALUES, atol=1e-10)


def test_directions_that_inner_products_cannot_resolve_are_found_by_a_second_read():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((500, 3)))[0]
    sizes = np.array([1.0, 1e-4, 1e-10])
    X = (Q * sizes) @ np.array([0.9, 0.5, 0.2])[:, None] ** np.arange(6)
    eigs = koopscope.DMD(svd_rank=3).fit(X).eigs
    assert np.abs(np.sort(eigs.real) - [0.2, 0.5, 0.9]).max() <= 1e-4


def test_a_rank_beyond_the_data_is_given_with_a_warning():
    X = complex_matrix(VALUES[:2])
    with pytest.warns(RuntimeWarning, match="2 directions above rounding, and rank 5") as said:
        found = koopscope.DMD(svd_rank=5).fit(X)
    assert said[0].filename == __file__
    assert found.modes.shape == (SIZE, 5)
    with pytest.warns(RuntimeWarning, match="rank 14"):
        assert len(koopscope.DMD(svd_rank=-1).fit(X).eigs) == SNAPSHOTS - 1
    assert koopscope.DMD(svd_rank=5).fit(np.zeros((4, 6))).rank == 0
    assert koopscope.DMD(svd_rank=0).fit(X).rank == koopscope.DMD(svd_rank=0.9999).fit(X).rank == 2


@pytest.mark.parametrize("ask", ["eigs", "modes", "amplitudes", "dynamics", "operator", "dmd_time"])
def test_what_was_not_fitted_has_no_results(ask):
    dmd = koopscope.DMD(svd_rank=3)
    assert not dmd.fitted
    with pytest.raises(RuntimeError, match="was not fitted"):
        getattr(dmd, ask)
    with pytest.raises(RuntimeError, match="was not fitted"):
        dmd.modes_activation_bitmask = np.ones(3, bool)
    assert dmd.fit(complex_matrix()).fitted


@pytest.mark.parametrize(
    "option",
    [
        {"opt": 2.5},
        {"tlsq_rank": -1},
        {"tlsq_rank": 1.5},
        {"rescale_mode": "most"},
        {"rescale_mode": [1.0, 0.0]},
        {"rescale_mode": []},
        {"sorted_eigs": "size"},
        {"dt": -1},
    ],
)
def test_options_that_do_not_exist_are_refused(option):
    with pytest.raises(ValueError, match=r"cannot be|not possible"):
        koopscope.DMD(**option)
    with pytest.raises(ValueError, match="opt=15 is not one of 15 snapshots"):
        koopscope.DMD(opt=15).fit(complex_matrix())
