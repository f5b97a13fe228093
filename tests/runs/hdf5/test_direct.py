"""Reading around HDF5: the same numbers, and only where every row is certain to be there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope.runs.hdf5 import direct as module
from koopscope.runs.hdf5.direct import Extents, extents

lists_chunks = pytest.mark.skipif(
    not hasattr(h5py.h5d.DatasetID, "chunk_iter"), reason="this HDF5 cannot list where chunks lie"
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_CHUNK_BYTES", 1)


def places(path: Path, rows: int, dtype: str = "float32") -> tuple[h5py.File, Extents | None]:
    file = h5py.File(path, "r", locking=False)
    return file, extents(file, file["w"].id, rows, dtype)


def stored(path: Path, values: np.ndarray, **layout: object) -> np.ndarray:
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=values, **layout)
    return values


@st.composite
def tensors(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    rows = draw(st.integers(1, 6))
    axis = draw(st.integers(0, len(shape) - 1))
    chunk = (
        draw(st.integers(1, rows)),
        *(1,) * axis,
        draw(st.integers(1, shape[axis])),
        *shape[axis + 1 :],
    )
    return (rows, *shape), draw(st.sampled_from([chunk, None]))


@lists_chunks
@settings(max_examples=60, deadline=None)
@given(case=tensors(), data=st.data())
def test_any_range_of_any_rows_is_what_hdf5_reads(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[tuple[int, ...], tuple[int, ...] | None],
    data: st.DataObject,
) -> None:
    shape, chunks = case
    path = tmp_path_factory.mktemp("extents") / "run.h5"
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    stored(path, values, chunks=chunks)
    rows = data.draw(st.integers(1, shape[0]))
    flat = values.reshape(shape[0], -1)
    start = data.draw(st.integers(0, flat.shape[1] - 1))
    stop = data.draw(st.integers(start + 1, flat.shape[1]))
    out = np.full((rows, stop - start), np.nan, np.float32)
    file, found = places(path, rows)
    with file:
        assert found is not None
        assert found.read(start, stop, range(len(out)), out)
    assert np.array_equal(out, flat[:rows, start:stop])


def test_chunks_that_cut_two_axes_are_left_to_hdf5(tmp_path: Path) -> None:
    stored(tmp_path / "run.h5", np.zeros((3, 8, 8), np.float32), chunks=(1, 4, 4))
    file, found = places(tmp_path / "run.h5", 3)
    with file:
        assert found is None


@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (1, 4), "compression": "gzip"},
        {"chunks": (1, 4), "fletcher32": True},
        {"dtype": ">f4"},
        {"dtype": "f8"},
    ],
    ids=str,
)
def test_what_is_not_stored_as_it_is_used_is_left_to_hdf5(
    tmp_path: Path, layout: dict[str, object]
) -> None:
    stored(tmp_path / "run.h5", np.zeros((3, 8), np.float32), **layout)
    file, found = places(tmp_path / "run.h5", 3)
    with file:
        assert found is None


@lists_chunks
def test_a_row_without_a_chunk_is_left_to_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        dataset = file.create_dataset("w", (3, 8), np.float32, chunks=(1, 4))
        dataset[0], dataset[1, :4] = 1.0, 1.0
    for rows, direct in ((1, True), (2, False), (3, False)):
        file, found = places(tmp_path / "run.h5", rows)
        with file:
            assert (found is not None) is direct


def test_overlapping_or_outlying_chunks_are_not_trusted() -> None:
    good = np.array([[2048, 3072], [4096, 5120]])
    assert module._apart(good, 1024, 6144)
    assert not module._apart(good, 1025, 6200)
    assert not module._apart(good, 1024, 6143)
    assert not module._apart(np.where(good == 4096, -1, good), 1024, 6144)


@lists_chunks
def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    stored(tmp_path / "run.h5", np.ones((3, 4096), np.float32), chunks=(1, 4096))
    file, found = places(tmp_path / "run.h5", 3)
    with file:
        assert found is not None
        with (tmp_path / "run.h5").open("r+b") as raw:
            raw.truncate(int(found.addresses[-1, 0]) + 100)
        assert not found.read(0, 4096, range(3), np.empty((3, 4096), np.float32))
