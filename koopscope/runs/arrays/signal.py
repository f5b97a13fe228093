"""Read a sampled function y(x) from a text, NumPy or HDF5 file; knows no mathematics.

NumPy files are read without pickles, HDF5 files without following any link out of the file.
"""

from __future__ import annotations

import csv
import math
import tokenize
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5 import structure
from koopscope.runs.hdf5.safety import Member, hdf5_failures, member, open_hdf5, storage_problem

#: Gaps between x may differ by this part of their mean and still count as equal.
EQUAL_GAPS = 1e-3

LARGEST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Signal:
    """Equidistant samples.

    Attributes
    ----------
    path
        As the user named it.
    values
        float64 [n].
    spacing
        Distance of two samples in units of x; 1 where no x was given.
    """

    path: str
    values: Float64
    spacing: float


def read_signal(name: str) -> Signal:
    """Read ``data.csv``, ``data.npy`` or ``data.h5:dataset``: one column y, or two, x and y.

    Raises
    ------
    KoopscopeError
        If the file cannot be read, is no table of one or two columns, or x is not equidistant.
    """
    path, _, dataset = (
        name.partition(":") if ":" in name and not Path(name).exists() else (name, "", "")
    )
    file = Path(path)
    if not file.is_file():
        raise KoopscopeError(f"there is no file {path}", "name a .csv, .npy or .h5 file")
    if file.stat().st_size > LARGEST_BYTES:
        raise KoopscopeError(
            f"{path} has {file.stat().st_size:,} bytes", "a signal may have 256 MiB at most"
        )
    structure.walk_first([file], open_run)
    with structure.reading(file):
        if dataset or file.suffix in (".h5", ".hdf5"):
            table = _from_hdf5(file, dataset)
        elif file.suffix == ".npy":
            table = _from_numpy(file)
        else:
            table = _from_text(file)
    return _signal(name, table)


def _signal(name: str, table: Float64) -> Signal:
    if table.ndim == 2 and table.shape[1] == 1:
        table = table[:, 0]
    if table.ndim == 1:
        return Signal(name, table, 1.0)
    if table.ndim != 2 or table.shape[1] != 2:
        raise KoopscopeError(
            f"{name} has shape {table.shape}", "give one column y, or two columns x and y"
        )
    x = table[:, 0]
    gaps = np.diff(x)
    mean = float(gaps.mean()) if len(gaps) else 0.0
    if not mean > 0.0 or (np.abs(gaps - mean) > EQUAL_GAPS * mean).any():
        raise KoopscopeError(
            f"x in {name} is not equidistant and ascending", "resample y on an even grid"
        )
    return Signal(name, table[:, 1], mean)


def _from_text(file: Path) -> Float64:
    rows: list[list[float]] = []
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            for number, row in enumerate(csv.reader(lines), start=1):
                cells = [cell.strip() for cell in row if cell.strip()]
                if not cells or cells[0].startswith("#"):
                    continue
                try:
                    rows.append([float(cell) for cell in cells])
                except ValueError:
                    if rows or number > 1:
                        raise KoopscopeError(
                            f"line {number} of {file} is no row of numbers: {','.join(row)[:60]}",
                            "separate numbers by commas; only the first line may be a heading",
                        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise KoopscopeError(
            f"{file} cannot be read as text: {error}", "give a .csv file"
        ) from None
    if not rows:
        raise KoopscopeError(f"{file} holds no numbers", "give one or two columns")
    if len({len(row) for row in rows}) != 1:
        raise KoopscopeError(f"the rows of {file} differ in length", "give one or two columns")
    return np.array(rows)


def _from_numpy(file: Path) -> Float64:
    try:
        values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, MemoryError, SyntaxError, tokenize.TokenError) as error:
        raise KoopscopeError(
            f"{file} is no NumPy array: {error}", "write it with numpy.save"
        ) from None
    return _numbers(values, str(file))


def _from_hdf5(file: Path, dataset: str) -> Float64:
    if not dataset:
        raise KoopscopeError(f"{file} holds many datasets", f"name one: {file}:dataset")
    with open_hdf5(file) as opened, hdf5_failures(file):
        member = _reached(h5py.h5g.open(opened.id, b"/"), dataset)
        if member is None:
            raise KoopscopeError(f"{file} has no dataset {dataset!r}", "list them with h5ls")
        problem = storage_problem(member)
        declared = math.prod(member.shape or ()) * member.get_type().get_size()
        if not problem and declared > LARGEST_BYTES:
            problem = f"it has {declared:,} bytes, and a signal may have 256 MiB at most"
        if problem:
            raise KoopscopeError(f"{dataset} of {file} is not read: {problem}", "copy the data out")
        return _numbers(h5py.Dataset(member)[()], f"{file}:{dataset}")


def _reached(group: h5py.h5g.GroupID, dataset: str) -> h5py.h5d.DatasetID | None:
    """Return the dataset that a path of hard links leads to."""
    here: Member = group
    for part in dataset.strip("/").split("/"):
        name = part.encode()
        if not isinstance(here, h5py.h5g.GroupID) or not name or name not in here:
            return None
        here = member(here, name)
    return here if isinstance(here, h5py.h5d.DatasetID) else None


def _numbers(values: npt.NDArray[np.generic], name: str) -> Float64:
    if values.dtype.kind not in "iuf":
        raise KoopscopeError(f"{name} holds {values.dtype}", "give real numbers")
    return values.astype(np.float64)
