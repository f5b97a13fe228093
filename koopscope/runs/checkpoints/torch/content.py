"""What a file of PyTorch holds: the object of its pickle, and where its storages lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koopscope.runs.checkpoints.torch.tensors import Storage


@dataclass(frozen=True, slots=True)
class Packed:
    """A compressed member of the archive in the bytes ``[start, start + size)`` of the file."""

    start: int
    size: int
    member: str


@dataclass(frozen=True, slots=True)
class Region:
    """Where a storage lies: from this byte of the file, or of the member it is unpacked from."""

    start: int
    size: int
    packed: Packed | None = None


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes
    ----------
    value
        The object; its tensors point to storages.
    form
        For people.
    locate
        Where a storage lies; ``DamagedError`` if the file lacks it, or cut it short.
    big_endian
        How its numbers are written.
    """

    value: Any
    form: str
    locate: Callable[[Storage], Region]
    big_endian: bool = False
