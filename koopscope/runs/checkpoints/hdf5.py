"""HDF5 files of anybody's making with one snapshot each: every dataset of floats is a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.hdf5_tensors import (
    Hdf5File,
    must_be_written,
    read_numbers,
    tensor_dtype,
)
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.hdf5 import safety
from koopscope.runs.names import COUNTERS, Unit


def hdf5_snapshot(file: Hdf5File) -> Snapshot:
    """Describe an HDF5 file that holds one snapshot.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    contents = Contents(str(file.path))
    sort_datasets(file.path, file.members, contents)
    step = step_attribute(file.file)
    places = {tensor.name: tensor.name for tensor in contents.tensors}
    return contents.snapshot("HDF5", file.reader(places), step)


def sort_datasets(
    path: Path, members: Mapping[str, h5py.h5d.DatasetID], contents: Contents, home: str = ""
) -> None:
    """Sort the datasets of one snapshot by what they are.

    Parameters
    ----------
    home
        In front of their names in the file, for error messages.

    Raises
    ------
    KoopscopeError
        If a weight has parts that were never written.
    """
    for name, dataset in members.items():
        is_number = isinstance(dataset.get_type(), (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID))
        number = partial(_number, dataset) if is_number else None
        if contents.add(name, tuple(dataset.shape), tensor_dtype(dataset), number) is not None:
            must_be_written(path, home + name, dataset)


def _number(dataset: h5py.h5d.DatasetID) -> float:
    return float(read_numbers(dataset)[0])


def step_attribute(group: h5py.Group) -> tuple[int | None, Unit]:
    """Return what an attribute of a group says about its step."""
    for name, unit in COUNTERS.items():
        value: Any = group.attrs[name] if safety.has_attribute(group, name) else None
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        is_number = isinstance(value, (int, np.integer, float, np.floating))
        if is_number and math.isfinite(value) and value == int(value):
            return int(value), unit
    return None, "step"
