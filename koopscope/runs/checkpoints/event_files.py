"""Scalars from TensorBoard's event files, without TensorBoard or TensorFlow.

A file is a list of records, each a length, its checksum, the data and its checksum
(tensorflow/core/lib/io/record_writer.h); the data is an ``Event`` in protocol buffers' wire format
(tensorflow/core/util/event.proto, summary.proto, tensor.proto). A file that is still written may
end inside a record: what lies before it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from koopscope.errors import KoopscopeError

#: Records longer than this hold pictures or histograms, and no scalars that are looked for.
_LARGEST_RECORD = 2**20

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT, _DOUBLE = 1, 2


def scalars_of(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of every scalar, in the order in which they were logged.

    Raises
    ------
    KoopscopeError
        If it is no event file, or damaged.
    OSError
        If it cannot be read.
    """
    for record in _records(path):
        try:
            yield from _event(record)
        except (ValueError, IndexError, struct.error):
            raise KoopscopeError(
                f"{path} holds a record that is no event", "the file is damaged; copy it again"
            ) from None


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while True:
            head = file.read(12)
            if len(head) < 12:
                return
            length, checksum = struct.unpack("<QI", head)
            if _masked_crc(head[:8]) != checksum:
                raise KoopscopeError(
                    f"{path} is no event file, or damaged at byte {file.tell() - 12}",
                    "name a file such as events.out.tfevents.*, or copy it again",
                )
            if length > _LARGEST_RECORD:
                file.seek(length + 4, 1)
                continue
            data, tail = file.read(length), file.read(4)
            if len(tail) < 4:
                return
            if _masked_crc(data) != struct.unpack("<I", tail)[0]:
                raise KoopscopeError(
                    f"{path} is damaged before byte {file.tell()}", "copy the file again"
                )
            yield data


def _event(data: bytes) -> Iterator[tuple[int, str, float]]:
    step, summaries = 0, []
    for number, value in _fields(data):
        if number == 2 and isinstance(value, int):
            step = value - 2**64 if value >= 2**63 else value
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, entry in _fields(summary):
            if number == 1 and isinstance(entry, bytes):
                tag, scalar = _value(entry)
                if tag and scalar is not None:
                    yield step, tag, scalar


def _value(data: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif number == 2 and isinstance(value, bytes):
            scalar = struct.unpack("<f", value)[0]
        elif number == 8 and isinstance(value, bytes):
            scalar = _tensor(value)
    return tag, scalar


def _tensor(data: bytes) -> float | None:
    """Return the only value of a tensor of floats, ``None`` for any other tensor."""
    dtype, content = 0, b""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number in (4, 5, 6) and isinstance(value, bytes):
            content = value
    form = {(_FLOAT, 4): "<f", (_DOUBLE, 8): "<d"}.get((dtype, len(content)))
    return None if form is None else float(struct.unpack(form, content)[0])


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field of a message: a whole number, or its bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if size < 0 or position + size > len(data):
            raise ValueError("a field ends outside of its message")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is too long")


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    """Return the CRC-32C of Castagnoli's polynomial, rotated and shifted as records store it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
