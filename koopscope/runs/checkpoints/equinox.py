"""Equinox' ``.eqx`` files: the leaves of a module one behind the other, as NumPy saves arrays.

``eqx.tree_serialise_leaves`` stores no names, so the leaves are numbered in the order of the
module's fields. A line of JSON may stand before them, where programs keep what a module is made
from. Nothing is unpickled, and the values stay where they are.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.npz import DAMAGE, Member, described_array
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch.reading import (
    Piece,
    StoragePlace,
    TorchReader,
    describing,
)
from koopscope.runs.checkpoints.torch.window import DamagedError, FileWindow

_MAGIC = b"\x93NUMPY"

#: Bytes of the line before the leaves, of what NumPy says of one, and how many there may be.
_LINE = 2**20
_HEADER = 2**14
_MOST_LEAVES = 100_000

#: How JAX's words of bfloat16 are declared by NumPy, which does not know them.
_BFLOAT16 = "void16"


def equinox_snapshot(path: Path) -> Snapshot:
    """Describe a file that ``eqx.tree_serialise_leaves`` wrote.

    Raises
    ------
    KoopscopeError
        If it is damaged, or of another form.
    """
    contents = Contents(str(path))
    pieces: dict[str, tuple[Piece, ...]] = {}
    try:
        with describing() as files:
            window = files.whole(path)
            start, metadata = _beginning(window)
            for leaf in _leaves(window, start):
                dtype = "bfloat16" if leaf.dtype.name == _BFLOAT16 else leaf.dtype.name
                if not leaf.shape and dtype == "float64":
                    contents.leave_out(leaf.name, "a number that is no array")
                elif contents.add(leaf.name, leaf.shape, dtype, None) is not None:
                    pieces[leaf.name] = (_piece(path, leaf, dtype),)
    except (*DAMAGE, DamagedError) as error:
        raise KoopscopeError(
            f"{path} is no readable file of Equinox: {error}",
            "save it with eqx.tree_serialise_leaves(path, module), or copy it again",
        ) from None
    return replace(
        contents.snapshot("Equinox", TorchReader.handed_over(pieces, files)),
        metadata=metadata,
        notes=(
            "Equinox stores leaves without names: they are numbered in the order of the module's "
            "fields, and what is trained is not told from what is not",
        ),
    )


def _beginning(window: FileWindow) -> tuple[int, dict[str, Any]]:
    """Return where the leaves begin, and what the line before them says."""
    head = window.read(0, min(_LINE, window.size))
    if head.startswith(_MAGIC):
        return 0, {}
    line, ending, _ = head.partition(b"\n")
    if not ending or head[len(line) + 1 :][: len(_MAGIC)] != _MAGIC:
        raise DamagedError("it does not begin with an array")
    said = loaded(line)
    return len(line) + 1, said if isinstance(said, dict) else {}


def _leaves(window: FileWindow, start: int) -> Iterator[Member]:
    number = 0
    while start < window.size:
        if number == _MOST_LEAVES:
            raise DamagedError(f"it holds more than {_MOST_LEAVES:,} leaves")
        head = io.BytesIO(window.read(start, min(_HEADER, window.size - start)))
        found = described_array(f"leaf_{number}", head)
        if start + found.end > window.size:
            raise DamagedError(
                f"leaf {number} should end at byte {start + found.end:,}, and the file at "
                f"{window.size:,}"
            )
        yield Member(found.name, found.shape, found.dtype, found.fortran, start + found.offset)
        start, number = start + found.end, number + 1


def _piece(path: Path, leaf: Member, dtype: str) -> Piece:
    shape = leaf.shape
    sizes = shape[::-1] if leaf.fortran else shape
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    steps = tuple(strides[::-1] if leaf.fortran else strides)
    big_endian = leaf.dtype.byteorder == ">" or (
        leaf.dtype.byteorder == "=" and sys.byteorder == "big"
    )
    return Piece(
        (0,) * len(shape), StoragePlace(path, leaf.offset, shape, steps, dtype, big_endian)
    )
