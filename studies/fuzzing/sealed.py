"""Files whose checksums would give damage away: what is inside is damaged, and sealed again."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

from koopscope.runs.checkpoints.event_files import _masked_crc


def member_of(content: bytes, suffix: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """Return an archive's member, and what puts a damaged one in its place."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = next(name for name in members if name.endswith(suffix))

    def packed(damaged: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each, inside in members.items():
                archive.writestr(each, damaged if each == name else inside)
        return buffer.getvalue()

    return members[name], packed


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def events(steps: range) -> bytes:
    """Return messages of TensorBoard, one a step, each behind its length."""
    content = b""
    for step in steps:
        scalar = _field(1, b"train/loss") + b"\x15" + struct.pack("<f", 0.9**step)
        tensor = b"\x08\x01" + _field(5, struct.pack("<f", 0.8**step))
        summary = _field(1, scalar) + _field(1, _field(1, b"val_loss") + _field(8, tensor))
        message = b"\x09" + struct.pack("<d", 1e9) + bytes([2 << 3, step]) + _field(5, summary)
        content += struct.pack("<H", len(message)) + message
    return content


def event_file(content: bytes) -> bytes:
    """Return an event file of messages behind their lengths, with the right checksums."""
    records, position = b"", 0
    while position + 2 <= len(content):
        (length,) = struct.unpack_from("<H", content, position)
        message = content[position + 2 : position + 2 + length]
        size = struct.pack("<Q", length)
        records += size + struct.pack("<I", _masked_crc(size))
        records += message + struct.pack("<I", _masked_crc(message))
        position += 2 + length
    return records
