"""The head of an HDF5 file: where it begins, and whether a writer has left its mark in it.

A user block may lie in front of it, as in MATLAB's files. A program that writes a file of HDF5's
newer formats marks it as open, and a program that dies leaves the mark behind, which makes HDF5
refuse the file: here the mark is taken away in the reading, never in the file.

Fields and checksum as in the HDF5 File Format Specification, version 3.0, II.A "Disk Format: Level
0A - Format Signature and Superblock".
"""

from __future__ import annotations

import os
import struct
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from koopscope.runs.hdf5.journal import PatchedFile

SIGNATURE = b"\x89HDF\r\n\x1a\n"

#: HDF5 looks for its signature at 0, 512, 1024, 2048, ...; a longer user block is nobody's.
_LARGEST_USER_BLOCK = 2**30

_OPEN_FOR_WRITING, _SWMR = 1, 4


@dataclass(frozen=True)
class Superblock:
    """The head of a file.

    Attributes
    ----------
    offset
        Bytes in front of it.
    writer
        ``swmr``: marked by a writer that lets others read meanwhile; ``alone``: by one that does
        not; ``none``: not marked.
    """

    offset: int
    writer: Literal["none", "swmr", "alone"]


def superblock_of(path: Path) -> Superblock | None:
    """Return the head of a file, or ``None`` if it is no HDF5 file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        offset = 0
        while offset < size and offset <= _LARGEST_USER_BLOCK:
            file.seek(offset)
            head = file.read(12)
            if head.startswith(SIGNATURE):
                return Superblock(offset, _writer(head))
            offset = max(512, 2 * offset)
    return None


def unmarked(path: Path, offset: int) -> PatchedFile:
    """Return a file for reading as if its writer had closed it: unmarked, as long as it is.

    Parameters
    ----------
    offset
        Of the superblock, of version 3.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    size = os.fstat(descriptor).st_size
    head = bytearray(os.pread(descriptor, 12, offset))
    width = head[9]
    head += os.pread(descriptor, 4 * width, offset + 12)
    head[11] = 0
    end = 12 + 2 * width  # after the base address and that of the extension
    head[end : end + width] = (size - offset).to_bytes(width, "little")
    patch = bytes(head) + _lookup3(bytes(head)).to_bytes(4, "little")
    view = PatchedFile(descriptor, size, [(offset, patch)])
    weakref.finalize(view, os.close, descriptor)
    return view


def _writer(head: bytes) -> Literal["none", "swmr", "alone"]:
    if len(head) < 12 or head[8] != 3 or not head[11] & _OPEN_FOR_WRITING:
        return "none"
    return "swmr" if head[11] & _SWMR else "alone"


def _lookup3(data: bytes) -> int:
    """Return Bob Jenkins' lookup3 hash with seed 0, the checksum of HDF5's metadata."""
    mask = 0xFFFFFFFF

    def rotated(value: int, by: int) -> int:
        return (value << by | value >> (32 - by)) & mask

    a: int = (0xDEADBEEF + len(data)) & mask
    b, c = a, a
    position = 0
    while len(data) - position > 12:
        words: tuple[int, ...] = struct.unpack_from("<3I", data, position)
        a, b, c = (a + words[0]) & mask, (b + words[1]) & mask, (c + words[2]) & mask
        a = (a - c) & mask ^ rotated(c, 4)
        c = (c + b) & mask
        b = (b - a) & mask ^ rotated(a, 6)
        a = (a + c) & mask
        c = (c - b) & mask ^ rotated(b, 8)
        b = (b + a) & mask
        a = (a - c) & mask ^ rotated(c, 16)
        c = (c + b) & mask
        b = (b - a) & mask ^ rotated(a, 19)
        a = (a + c) & mask
        c = (c - b) & mask ^ rotated(b, 4)
        b = (b + a) & mask
        position += 12
    rest = data[position:].ljust(12, b"\0")
    if position == len(data):
        return c
    words = struct.unpack("<3I", rest)
    a, b, c = (a + words[0]) & mask, (b + words[1]) & mask, (c + words[2]) & mask
    c = ((c ^ b) - rotated(b, 14)) & mask
    a = ((a ^ c) - rotated(c, 11)) & mask
    b = ((b ^ a) - rotated(a, 25)) & mask
    c = ((c ^ b) - rotated(b, 16)) & mask
    a = ((a ^ c) - rotated(c, 4)) & mask
    b = ((b ^ a) - rotated(a, 14)) & mask
    return ((c ^ b) - rotated(b, 24)) & mask
