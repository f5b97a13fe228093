"""Checkpoints that are there twice: ``last.ckpt`` beside the numbered one it is a copy or link of.

Decides by the weights, never by a name alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.numbering import natural_key
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.names import Unit, is_role
from koopscope.runs.run import TensorInfo

#: Weights compared at once.
_PART = 2**20


def without_copies(
    snapshots: Sequence[Snapshot], steps: Sequence[int], unit: Unit, tensors: Sequence[TensorInfo]
) -> tuple[list[int], list[str]]:
    """Return which snapshots to keep, in the order of their steps, and a sentence for each other.

    Parameters
    ----------
    snapshots, steps, unit
        Snapshots in any order, and what the step of each counts.
    tensors
        That all of them hold.

    Raises
    ------
    KoopscopeError
        If two of one step hold different weights.
    """
    order = sorted(range(len(snapshots)), key=lambda i: (steps[i], *_rank(snapshots[i].path)))
    kept: list[int] = []
    sentences: list[str] = []
    clashes: list[tuple[int, int]] = []
    for index in order:
        if not kept or steps[kept[-1]] != steps[index]:
            kept.append(index)
        elif is_copy(snapshots[index], snapshots[kept[-1]], tensors):
            sentences.append(left_out(snapshots[index], snapshots[kept[-1]]))
        else:
            clashes.append((kept[-1], index))
    if clashes:
        raise _clash(snapshots, steps, unit, clashes)
    return kept, sentences


def left_out(copy: Snapshot, of: Snapshot) -> str:
    """Say that a checkpoint adds nothing."""
    return f"{copy.path} is left out: it holds the same weights as {of.path}"


def is_copy(one: Snapshot, other: Snapshot, tensors: Sequence[TensorInfo]) -> bool:
    """Return whether two snapshots are one file, or hold the same weights to the last bit."""
    try:
        if os.path.samefile(one.path, other.path):
            return True
    except OSError:  # a part of a file has no name of its own
        pass
    first, second = one.open(), other.open()
    try:
        for tensor in tensors:
            dtype = np.dtype(np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)
            for start in range(0, tensor.size, _PART):
                stop = min(start + _PART, tensor.size)
                parts = np.empty((2, stop - start), dtype)
                first.read(tensor, start, stop, parts[0])
                second.read(tensor, start, stop, parts[1])
                if parts[0].tobytes() != parts[1].tobytes():
                    return False
    finally:
        first.close()
        second.close()
    return True


def _rank(path: str) -> tuple[bool, tuple[tuple[int, int, str], ...]]:
    """Return a sorting key under which numbered names come before ``last`` and ``best``."""
    name = PurePath(path).name.lower()
    return any(is_role(word) for word in re.split(r"[\W\d_]+", name)), natural_key(path)


def _clash(
    snapshots: Sequence[Snapshot], steps: Sequence[int], unit: Unit, clashes: list[tuple[int, int]]
) -> KoopscopeError:
    one, other = clashes[0]
    both = f"{snapshots[one].path} and {snapshots[other].path} both hold {unit} {steps[one]}"
    if len(clashes) == 1:
        return KoopscopeError(f"{both}, with different weights", "leave one of them out")
    return KoopscopeError(
        f"{len(clashes)} {unit}s are there twice with different weights: {both}",
        "training began anew, or these are two runs: name the checkpoints of one",
    )
