"""A fitted ``koopscope.DMD`` comes back from disk as it was, and no file can run code."""

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from tests.known_systems import trajectory


@pytest.mark.parametrize("values", ["real", "complex"])
def test_what_was_saved_comes_back(tmp_path, values):
    X = trajectory(size=300).T * (np.exp(0.3j) if values == "complex" else 1.0)
    options = {"svd_rank": 7, "exact": True, "opt": 1, "rescale_mode": np.arange(1.0, 8.0)}
    found = koopscope.DMD(**options, dt=0.5).fit(X)
    found.dmd_time["tend"] = 20.0
    found.modes_activation_bitmask = np.arange(7) != 2
    found.save(tmp_path / "law")
    loaded = koopscope.DMD.load(tmp_path / "law")
    for name in ("eigs", "modes", "amplitudes", "reconstructed_data", "atilde", "frequency"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(found, name))
    assert (loaded.dmd_time, loaded.original_time) == (found.dmd_time, found.original_time)
    np.testing.assert_array_equal(loaded.predict(X), found.predict(X))
    loaded.modes_activation_bitmask = np.ones(7, bool)
    assert loaded.modes.shape == (300, 7)
    with pytest.raises(KoopscopeError, match="holds modes but not the data"):
        _ = loaded.snapshots
    loaded.save(tmp_path / "again")
    np.testing.assert_array_equal(koopscope.DMD.load(tmp_path / "again").modes, loaded.modes)
    assert loaded.fit(X[:, :10]).snapshots.shape == (300, 10)


def test_a_law_without_modes_comes_back(tmp_path):
    koopscope.DMD().fit(np.zeros((5, 4))).save(tmp_path / "still")
    assert koopscope.DMD.load(tmp_path / "still").modes.shape == (5, 0)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "law.h5"
    with pytest.raises(KoopscopeError, match="was not fitted"):
        koopscope.DMD().save(path)
    with pytest.raises(KoopscopeError, match="cannot be written"):
        koopscope.DMD(rank=2).fit(trajectory().T).save(tmp_path / "missing" / "law.h5")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KoopscopeError, match="does not exist"):
        koopscope.DMD.load(path)
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(KoopscopeError, match="is not an HDF5 file"):
        koopscope.DMD.load(path)
    with h5py.File(path, "w") as file:
        file["eigenvalues"] = [1.0]
    with pytest.raises(KoopscopeError, match="holds no fitted DMD"):
        koopscope.DMD.load(path)


def _newer(file):
    file.attrs["format_version"] = "2.0"


def _without_modes(file):
    del file["modes"]


def _linked(file):
    del file["modes"]
    file["modes"] = h5py.ExternalLink("other.h5", "modes")


def _of_text(file):
    del file["eigenvalues"]
    file["eigenvalues"] = "1"


def _too_short(file):
    del file["amplitudes"]
    file["amplitudes"] = np.ones(2, complex)


def _wild_options(file):
    file.attrs["options"] = '{"dt": "x"}'


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_newer, "format version 2.0, newer than 1.0"),
        (_without_modes, "modes is missing"),
        (_linked, "modes is an external link"),
        (_of_text, "eigenvalues is object"),
        (_too_short, "do not belong together"),
        (_wild_options, "unreadable"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, message):
    path = tmp_path / "law.h5"
    koopscope.DMD(rank=3).fit(trajectory().T).save(path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(KoopscopeError, match=message):
        koopscope.DMD.load(path)
