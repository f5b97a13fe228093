"""Signals are read from three kinds of file, and nothing else is."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.signal import read_signal

X = np.linspace(0.0, 1.0, 11)


def test_text_numpy_and_hdf5_say_the_same(tmp_path):
    table = np.stack([X, X**2], axis=1)
    np.savetxt(tmp_path / "a.csv", table, delimiter=",", header="x,y", comments="")
    np.save(tmp_path / "a.npy", table)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/y"] = table
    for name in ("a.csv", "a.npy", "a.h5:group/y"):
        found = read_signal(str(tmp_path / name))
        assert found.values == pytest.approx(X**2)
        assert found.spacing == pytest.approx(0.1)


def test_one_column_has_unit_spacing(tmp_path):
    np.save(tmp_path / "y.npy", X)
    assert read_signal(str(tmp_path / "y.npy")).spacing == 1.0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.csv", b"x,y\n0,1\n1,two\n"),
        ("ragged.csv", b"0,1\n1\n"),
        ("uneven.csv", b"0,1\n1,2\n5,3\n"),
        ("three.csv", b"0,1,2\n1,2,3\n"),
        ("pickle.npy", b"\x80\x04K\x01."),
        ("broken.h5", b"not hdf5"),
        ("empty.csv", b""),
        ("heading.csv", b"x,y\n"),
        (
            "vast.npy",
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000000,), }".ljust(117)
            + b"\n",
        ),
    ],
)
def test_what_is_no_signal_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KoopscopeError) as caught:
        read_signal(str(tmp_path / name))
    assert name in caught.value.message


def test_links_out_of_the_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["y"] = X
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["y"] = h5py.ExternalLink("other.h5", "/y")
        file["s"] = h5py.SoftLink("/y")
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
    for dataset in ("y", "s", "elsewhere/y", "/", "nothing", "nothing/y"):
        with pytest.raises(KoopscopeError):
            read_signal(f"{tmp_path / 'a.h5'}:{dataset}")
