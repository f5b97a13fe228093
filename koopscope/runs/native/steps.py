"""The list of steps that says which snapshots a run file holds.

Everything else is read for as many snapshots as it names, so nothing is allocated for it before its
length is held against what the file stores, and no step is believed that no training has taken.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.hdf5 import safety
from koopscope.runs.hdf5.slabs import Slab
from koopscope.runs.hdf5.stacked import read_slab
from koopscope.runs.native.rows import STEP_LIMIT

#: Snapshots a file may hold: the analysis, quadratic in them, ends long before this.
SNAPSHOT_LIMIT = 2**24

#: Steps take 8 bytes of memory each: so many, and two for each byte of the file, which packs them.
STEP_BYTES = 16 * 2**20
STEP_BYTES_PER_BYTE = 2

_WANTED = "a list of whole numbers"


def checked_steps(path: Path, member: safety.Member | None) -> h5py.h5d.DatasetID:
    """Return the dataset of the steps if it is one that may be read.

    Raises
    ------
    KoopscopeError
        If it is missing, no list of whole numbers, or longer than any run.
    """
    if not isinstance(member, h5py.h5d.DatasetID):
        raise unusable(path, "/step", member, _WANTED)
    problem = safety.storage_problem(member)
    if problem:
        raise refused(path, "/step", problem)
    shape = member.shape
    if not isinstance(member.get_type(), h5py.h5t.TypeIntegerID) or len(shape or ()) != 1:
        raise unusable(path, "/step", safety.Refused("of another kind"), _WANTED)
    if shape[0] > SNAPSHOT_LIMIT:
        raise refused(path, "/step", f"{shape[0]} snapshots long, more than {SNAPSHOT_LIMIT}")
    return member


def read_steps(path: Path, member: safety.Member | None, committed: int) -> npt.NDArray[np.int64]:
    """Return the steps of the first ``committed`` snapshots, int64 [T], strictly increasing.

    Raises
    ------
    KoopscopeError
        If they cannot be read, do not increase, or are larger than steps can be.
    """
    dataset = checked_steps(path, member)
    rows = min(int(dataset.shape[0]), committed)
    room = STEP_BYTES + STEP_BYTES_PER_BYTE * path.stat().st_size
    if 8 * rows > room:
        raise refused(path, "/step", f"{rows} snapshots long, in a file too small for so many")
    missing = safety.missing_bytes(dataset, rows)
    if missing:
        raise refused(path, "/step", f"{missing} bytes of its {rows} entries were never written")
    steps = np.empty(rows, np.int64)
    if rows:
        read_slab(dataset, Slab((), ()), range(len(steps)), steps[:, None])
    wrong = np.flatnonzero(steps[1:] <= steps[:-1])
    if wrong.size:
        row = int(wrong[0])
        raise KoopscopeError(
            f"the steps of {path} do not increase: {steps[row + 1]} follows {steps[row]}",
            "record each step once, in order",
        )
    # They increase, so the first and the last bound them. HDF5 delivers larger unsigned numbers as
    # the largest signed one.
    for step in (*steps[:1].tolist(), *steps[-1:].tolist()):
        if not -STEP_LIMIT < step < STEP_LIMIT:
            raise refused(path, "/step", f"step {step} is beyond what can be counted")
    return steps


def unusable(path: Path, name: str, member: safety.Member | None, wanted: str) -> KoopscopeError:
    """Return the error for a part that is missing or of another kind than a Recorder writes."""
    found = "is missing" if member is None else getattr(member, "reason", "something else")
    found = found if member is None else f"is {found}, not {wanted}"
    return KoopscopeError(f"{name} of {path} {found}", "the file was not written by a Recorder")


def refused(path: Path, name: str, problem: str) -> KoopscopeError:
    """Return the error for a part that must not be read."""
    return KoopscopeError(
        f"{name} of {path} is refused: {problem}",
        "koopscope reads only what the file itself stores",
    )
