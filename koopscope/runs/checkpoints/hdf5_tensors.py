"""Tensors inside HDF5 files that no recorder wrote: find them, describe them, read parts of them.

Reaches members only the way ``koopscope.runs.hdf5.safety`` does; follows no link, and reads no more
of a dataset than it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.numbering import natural_key
from koopscope.runs.dtypes import widen_bfloat16
from koopscope.runs.handover import Handover
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.opened import OpenedFile
from koopscope.runs.hdf5.safety import declared_bytes
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.values import reading_weights
from koopscope.runs.run import FloatArray, TensorInfo

Datasets: TypeAlias = dict[str, h5py.h5d.DatasetID]

#: Numbers in a list of steps or of values of a metric, at most.
NUMBERS_LIMIT = 2**24


class Hdf5File(OpenedFile):
    """An HDF5 file of anybody's making: opened once, its structure walked once.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    KoopscopeError
        If it cannot be opened.
    """

    @cached_property
    def members(self) -> Datasets:
        """Every dataset by its path, numbered names in natural order.

        Raises
        ------
        KoopscopeError
            If the structure cannot be read, or something in there must not be followed or read.
        """
        with safety.hdf5_failures(self.path):
            return dict(datasets(self.path, self.root))

    def reader(self, places: Mapping[str, str]) -> Handover[Hdf5Reader]:
        """Hand over the file to whoever reads its tensors, without what was remembered of it.

        Parameters
        ----------
        places
            As ``Hdf5Reader`` has them.
        """
        self.__dict__.pop("members", None)
        path = self.path
        return Handover(
            Hdf5Reader(self.file, path, places),
            lambda: Hdf5Reader(safety.open_hdf5(path), path, places),
        )

    def close(self) -> None:
        """Close the file. Calling it twice is fine."""
        self.__dict__.pop("members", None)
        super().close()


def datasets(
    path: Path, group: h5py.h5g.GroupID, prefix: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, h5py.h5d.DatasetID]]:
    """Yield every dataset below a group by its path, numbered names in natural order.

    A group that has several names is entered once (``seen`` holds addresses): a few that contain
    each other twice would otherwise stand for billions of paths.

    Raises
    ------
    KoopscopeError
        If something in there must not be followed or read.
    """
    seen = {safety.address(group)} if seen is None else seen
    for key, member in sorted(
        safety.members(group, prefix.count("/")), key=lambda pair: natural_key(pair[0])
    ):
        name = prefix + key
        if isinstance(member, safety.Refused):
            raise refused(path, name, member.reason)
        if isinstance(member, h5py.h5g.GroupID):
            if safety.address(member) not in seen:
                seen.add(safety.address(member))
                yield from datasets(path, member, f"{name}/", seen)
            continue
        problem = safety.storage_problem(member)
        if problem:
            raise refused(path, name, problem)
        yield name, member


def tensor_dtype(dataset: h5py.h5d.DatasetID) -> str:
    """Return the dtype of a dataset; raw two-byte words said to be bfloat16 are ``bfloat16``."""
    if isinstance(dataset.get_type(), h5py.h5t.TypeOpaqueID):
        words = dataset.get_type().get_size() == 2
        marked = words and safety.text_attribute(dataset, "dtype") == "bfloat16"
        return "bfloat16" if marked else "opaque bytes"
    return safety.stored_dtype(dataset)


def must_be_written(
    path: Path, name: str, dataset: h5py.h5d.DatasetID, rows: int | None = None
) -> None:
    """Refuse a dataset with parts that were never written: they would read as zeros.

    Parameters
    ----------
    rows
        Of the first axis, those that are read; all of them if not given.

    Raises
    ------
    KoopscopeError
        If parts are missing.
    """
    if rows is None:
        rows = dataset.shape[0] if dataset.shape else 1
    missing = safety.missing_bytes(dataset, rows)
    if missing:
        raise KoopscopeError(
            f"{name} of {path} lacks {missing} bytes that it declares",
            "the file is incomplete; save or copy it again",
        )


def read_part(
    dataset: h5py.h5d.DatasetID, lead: tuple[int, ...], start: int, stop: int, out: FloatArray
) -> None:
    """Fill ``out`` (stop - start) from the flattened tensor at the leading indices ``lead``."""
    shape = tuple(dataset.shape[len(lead) :])
    offset = 0
    for slab in slabs(shape, start, stop):
        counts = (*(1 for _ in lead), *slab.count)
        where = dataset.get_space()
        if counts:
            where.select_hyperslab((*lead, *slab.start), counts)
        memory = h5py.h5s.create_simple(counts) if counts else h5py.h5s.create(h5py.h5s.SCALAR)
        part = out[offset : offset + slab.size]
        if tensor_dtype(dataset) == "bfloat16":
            opaque = isinstance(dataset.get_type(), h5py.h5t.TypeOpaqueID)
            words = np.empty(counts, "V2" if opaque else np.uint16)
            dataset.read(memory, where, words)
            widen_bfloat16(words.view(np.uint16).reshape(-1), part)
        else:
            dataset.read(memory, where, part.reshape(counts))
        offset += slab.size


def read_numbers(dataset: h5py.h5d.DatasetID) -> npt.NDArray[np.float64]:
    """Return float64 [n], every value of a short dataset of numbers, flattened.

    Raises
    ------
    ValueError
        If it is longer than any list of snapshots.
    """
    shape = tuple(dataset.shape)
    if math.prod(shape) > NUMBERS_LIMIT:
        raise ValueError(f"it is a list of {math.prod(shape)} numbers, more than {NUMBERS_LIMIT}")
    values = np.empty(shape, np.float64)
    if values.size:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values.reshape(-1)


class Hdf5Reader:
    """An open HDF5 file that holds one snapshot.

    Parameters
    ----------
    file
        Open for reading; closed with the reader.
    path
        For error messages.
    places
        Tensor name to the dataset's path in the file.
    """

    def __init__(self, file: h5py.File, path: Path, places: Mapping[str, str]) -> None:
        self._file = file
        self._path = path
        self._places = places

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor.

        Raises
        ------
        KoopscopeError
            If it cannot be read, or is not what it was when the file was described.
        """
        with safety.hdf5_failures(self._path, tensor.name):
            dataset = opened(self._path, self._file, self._places[tensor.name])
            if tuple(dataset.shape) != tensor.shape or tensor_dtype(dataset) != tensor.dtype:
                raise ValueError("it changed while it was being read")
            with reading_weights(self._path, out.size, declared_bytes(dataset)):
                read_part(dataset, (), start, stop, out)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def opened(path: Path, file: h5py.File, place: str) -> h5py.h5d.DatasetID:
    """Open a dataset by its path, checking each part of it for links.

    Raises
    ------
    KoopscopeError
        If it is none, or must not be followed or read.
    """
    here: safety.Member = h5py.h5g.open(file.id, b"/")
    for part in place.split("/"):
        if isinstance(here, h5py.h5g.GroupID):
            here = safety.member(here, part.encode())
    if not isinstance(here, h5py.h5d.DatasetID):
        raise refused(path, place, getattr(here, "reason", "not a dataset"))
    problem = safety.storage_problem(here)
    if problem:
        raise refused(path, place, problem)
    return here


def refused(path: Path, name: str, reason: str) -> KoopscopeError:
    """Return the error for a member that is not followed or read."""
    return KoopscopeError(
        f"{name} of {path} is refused: {reason}", "koopscope reads only what the file itself stores"
    )
