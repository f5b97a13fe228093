"""Pickles and PyTorch archives written byte by byte, so that tests can make hostile ones."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    key: str, shape: tuple[int, ...], strides: tuple[int, ...], count: int, offset: int = 0
) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    storage += number(count) + b"tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + number(offset)
        + numbers(shape)
        + numbers(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def mapping(**parts: bytes) -> bytes:
    inside = b"".join(text(name) + part for name, part in parts.items())
    return b"}(" + inside + b"u"


def weights() -> bytes:
    """A tensor ``w.weight`` of two floats in the storage ``0``."""
    return text("w.weight") + tensor("0", (2,), (1,), 2)


def archive(
    path: Path,
    pickle: bytes,
    storages: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write what ``torch.save`` would, around any pickle."""
    with zipfile.ZipFile(path, "w", compression) as zipped:
        zipped.writestr("archive/data.pkl", b"\x80\x02" + pickle + b".")
        zipped.writestr("archive/byteorder", "little")
        for key, content in (storages or {"0": struct.pack("<2f", 1.0, 2.0)}).items():
            zipped.writestr(f"archive/data/{key}", content)
        zipped.writestr("archive/version", "3\n")
    return path
