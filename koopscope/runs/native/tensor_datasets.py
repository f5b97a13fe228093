"""The dataset of one tensor in a run file: time first, a snapshot in chunks of bounded size."""

from __future__ import annotations

import math

import h5py
import numpy as np

from koopscope.runs.dtypes import STORED_AS

#: Elements of one chunk: a snapshot of a small tensor is one chunk, of a large one several.
CHUNK_ELEMENTS = 262_144


def chunk_shape(shape: tuple[int, ...], elements: int = CHUNK_ELEMENTS) -> tuple[int, ...]:
    """Return the chunk of one snapshot: whole trailing axes, then even parts of what is left."""
    chunk: list[int] = []
    for size in reversed(shape):
        parts = math.ceil(size / max(1, elements))
        chunk.append(math.ceil(size / parts))
        elements //= chunk[-1]
    return tuple(reversed(chunk))


def create_tensor(
    weights: h5py.Group, path: str, shape: tuple[int, ...], dtype: str, kind: str = "parameter"
) -> h5py.h5d.DatasetID:
    """Add the dataset of a tensor, without a row, and the groups that its name nests it in.

    As ``h5py.Group.create_dataset`` does it, in half the time, which counts for thousands of them.
    """
    *groups, name = path.split("/")
    for part in groups:
        weights = weights[part] if part in weights else weights.create_group(part, track_order=True)
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((1, *chunk_shape(shape)))
    plan.set_obj_track_times(False)
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_char_encoding(h5py.h5t.CSET_ASCII if name.isascii() else h5py.h5t.CSET_UTF8)
    dataset = h5py.h5d.create(
        weights.id,
        name.encode(),
        h5py.h5t.py_create(np.dtype(STORED_AS[dtype]), logical=1),
        h5py.h5s.create_simple((0, *shape), (h5py.h5s.UNLIMITED, *shape)),
        plan,
        link,
    )
    if kind != "parameter":
        h5py.Dataset(dataset).attrs["kind"] = kind
    if dtype == "bfloat16":
        h5py.Dataset(dataset).attrs["dtype"] = "bfloat16"
    return dataset
