"""HDF5 files of anybody's making with one snapshot each: every dataset of floats is a tensor."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import numpy as np

from koopscope.runs.checkpoints.hdf5_tensors import (
    Hdf5Reader,
    datasets,
    described,
    must_be_written,
    tensor_dtype,
)
from koopscope.runs.checkpoints.snapshot import Snapshot, Unit
from koopscope.runs.hdf5 import safety
from koopscope.runs.run import Skipped, TensorInfo

#: Attributes of a file that number it, and what they count.
STEP_ATTRIBUTES: dict[str, Unit] = {
    "step": "step",
    "global_step": "step",
    "iteration": "step",
    "epoch": "epoch",
}


def hdf5_snapshot(path: Path) -> Snapshot:
    """Describe an HDF5 file that holds one snapshot.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    tensors: list[TensorInfo] = []
    skipped: list[Skipped] = []
    with safety.open_hdf5(path) as file, safety.hdf5_failures(path):
        for name, dataset in datasets(path, h5py.h5g.open(file.id, b"/")):
            info = described(name, tuple(dataset.shape), tensor_dtype(dataset))
            if isinstance(info, str):
                skipped.append(Skipped(name, info))
                continue
            must_be_written(path, name, dataset)
            tensors.append(info)
        step, unit = step_attribute(file)
    open_file = partial(safety.open_hdf5, path)
    places = {tensor.name: tensor.name for tensor in tensors}
    return Snapshot(
        path=str(path),
        kind="HDF5",
        tensors=tuple(tensors),
        open=lambda: Hdf5Reader(open_file(), path, places),
        step=step,
        unit=unit,
        skipped=tuple(skipped),
    )


def step_attribute(group: h5py.Group) -> tuple[int | None, Unit]:
    """Return what an attribute of a group says about its step."""
    for name, unit in STEP_ATTRIBUTES.items():
        value = group.attrs.get(name)
        if isinstance(value, (int, np.integer)):
            return int(value), unit
    return None, "step"
