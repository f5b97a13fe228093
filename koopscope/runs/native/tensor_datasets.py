"""The dataset of one tensor in a run file: time first, a snapshot in chunks of bounded size."""

from __future__ import annotations

import math

import h5py

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
) -> h5py.Dataset:
    """Add the dataset of a tensor, without a row, and the groups that its name nests it in."""
    *groups, name = path.split("/")
    for part in groups:
        weights = weights[part] if part in weights else weights.create_group(part, track_order=True)
    dataset = weights.create_dataset(
        name,
        (0, *shape),
        STORED_AS[dtype],
        maxshape=(None, *shape),
        chunks=(1, *chunk_shape(shape)),
    )
    if kind != "parameter":
        dataset.attrs["kind"] = kind
    if dtype == "bfloat16":
        dataset.attrs["dtype"] = "bfloat16"
    return dataset
