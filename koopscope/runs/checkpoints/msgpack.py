"""Flax' msgpack files: ``flax.serialization.to_bytes``, ``flax_model.msgpack``, ``checkpoint_100``.

Walks through the file and notes where each array lies, without reading the arrays. The format is
msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md) with arrays as extension type 1,
NumPy's scalars as type 3, each a packed (shape, dtype name, bytes), and arrays beyond 1 GiB as
mappings of flat chunks (https://github.com/google/flax, ``serialization.py``).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch.window import (
    DamagedError,
    FileWindow,
    damage_of,
    window_of,
)
from koopscope.runs.dtypes import STORED_AS, widen_bfloat16
from koopscope.runs.handover import Handover
from koopscope.runs.names import plain_names
from koopscope.runs.run import FloatArray, TensorInfo

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"

#: Networks have fewer values, and are nested less deep.
_MOST_VALUES = 1_000_000
_DEEPEST = 64
_LONGEST_TEXT = 4096
_MOST_AXES = 32


@dataclass(frozen=True, slots=True)
class Array:
    """Where an array lies: flat stretches of (byte, elements), one after the other."""

    shape: tuple[int, ...]
    dtype: str
    parts: tuple[tuple[int, int], ...]


def msgpack_snapshot(path: Path) -> Snapshot:
    """Describe a file that ``flax.serialization.to_bytes`` wrote.

    Raises
    ------
    KoopscopeError
        If it is damaged, or is no mapping of arrays.
    """
    contents = Contents(str(path))
    places: dict[str, Array] = {}
    reader = _MsgpackReader(path, places)
    try:
        with damage_of(path):
            places.update(_places(reader.window, contents))
        again = partial(_MsgpackReader, path, places)
        return contents.snapshot("Flax msgpack", Handover(reader, again))
    except BaseException:
        reader.close()
        raise


def _places(window: FileWindow, contents: Contents) -> dict[str, Array]:
    """Return where each weight lies, after sorting all that is there into ``contents``."""
    value = _Walk(window).whole()
    if not isinstance(value, dict):
        raise DamagedError("it holds no mapping of arrays as Flax writes it")
    flat = _flat(value)
    places: dict[str, Array] = {}
    shown = plain_names(list(flat))
    for name, item in flat.items():
        if not isinstance(item, Array):
            _add_number(contents, shown[name], item)
            continue
        number = partial(_number, window, item) if item.dtype in _NUMBERS else None
        if contents.add(shown[name], item.shape, item.dtype, number) is not None:
            places[shown[name]] = item
    return places


def is_msgpack(window: FileWindow) -> bool:
    """Return whether a file begins like a mapping with names, and is one to its end.

    Raises
    ------
    OSError, DamagedError
        If it cannot be read as far as that takes.
    """
    if not window.size or not _is_mapping(window.read(0, 1)[0]):
        return False
    return isinstance(_Walk(window).whole(), dict)


def _is_mapping(first: int) -> bool:
    return 0x81 <= first <= 0x8F or first in (0xDE, 0xDF)


_NUMBERS = {dtype.name: dtype.newbyteorder("<") for dtype in map(np.dtype, (*"bhiqBHIQ", *"efd"))}
_WIDTHS = {
    "bool": 1,
    "bfloat16": 2,
    "complex64": 8,
    "complex128": 16,
    **{n: d.itemsize for n, d in _NUMBERS.items()},
}


def _number(window: FileWindow, array: Array) -> float:
    words = _NUMBERS[array.dtype]
    return float(np.frombuffer(window.read(array.parts[0][0], words.itemsize), words)[0])


def _add_number(contents: Contents, name: str, value: Any) -> None:
    """Take in a value that is no array: a plain number can be the step or a metric."""
    if type(value) in (int, float):
        contents.add(name, (), "int64" if type(value) is int else "float64", lambda: float(value))


def _flat(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Return arrays and numbers by their path, joined with ``/``."""
    flat: dict[str, Any] = {}
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        prefix, inner = stack.pop()
        if isinstance(inner, dict) and inner.get(_CHUNKED) is True:
            flat[prefix] = _joined(prefix, inner)
        elif isinstance(inner, dict):
            below = [(f"{prefix}/{key}" if prefix else str(key), v) for key, v in inner.items()]
            stack += reversed(below)
        elif prefix in flat:
            raise DamagedError(f"it holds {prefix!r:.80} twice")
        else:
            flat[prefix] = inner
    return flat


def _joined(name: str, said: Mapping[Any, Any]) -> Array:
    """Return the array that was stored as chunks."""
    shape = _in_order(said.get("shape"))
    chunks = _in_order(said.get("chunks"))
    if not chunks or not all(isinstance(chunk, Array) for chunk in chunks):
        raise DamagedError(f"{name!r:.80} has no readable chunks")
    dtypes = {chunk.dtype for chunk in chunks}
    parts = tuple(part for chunk in chunks for part in chunk.parts)
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > _MOST_AXES:
        raise DamagedError(f"{name!r:.80} has no valid shape")
    if len(dtypes) != 1 or sum(count for _, count in parts) != math.prod(shape):
        raise DamagedError(f"the chunks of {name!r:.80} do not make up its shape {shape}")
    return Array(tuple(shape), dtypes.pop(), parts)


def _in_order(said: Any) -> list[Any]:
    """Return the values of ``{"0": ..., "1": ...}`` in their order."""
    if not isinstance(said, dict) or not all(str(k) in said for k in range(len(said))):
        return []
    return [said[str(k)] for k in range(len(said))]


class _Walk:
    """One way through a file, from its first byte to its last.

    Parameters
    ----------
    window
        Of the open file.
    """

    def __init__(self, window: FileWindow) -> None:
        self._window = window
        self._at = 0
        self._left = _MOST_VALUES
        self._ahead = b""
        self._ahead_from = 0

    def whole(self) -> Any:
        """Return what the file holds, each array as its place.

        Raises
        ------
        DamagedError
            If it is no such file, or ends too early or too late.
        """
        value = self._value(0)
        if self._at != self._window.size:
            raise DamagedError(
                f"{self._window.size - self._at:,} bytes follow after its end at {self._at:,}"
            )
        return value

    def _take(self, size: int) -> bytes:
        """Return the next bytes; reads ahead a little, since most values are short."""
        start = self._at - self._ahead_from
        if start < 0 or start + size > len(self._ahead):
            wanted = min(max(size, 4096), self._window.size - self._at)
            if wanted < size:
                raise DamagedError(
                    f"it ends at byte {self._window.size:,}, inside a value at {self._at:,}"
                )
            self._ahead, self._ahead_from, start = self._window.read(self._at, wanted), self._at, 0
        self._at += size
        return self._ahead[start : start + size]

    def _unsigned(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def _value(self, depth: int) -> Any:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise DamagedError(f"it is nested deeper than {_DEEPEST} or has too many values")
        code = self._take(1)[0]
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code <= 0x8F:
            return self._mapping(code & 0x0F, depth)
        if code <= 0x9F:
            return self._list(code & 0x0F, depth)
        if code <= 0xBF:
            return self._text(code & 0x1F)
        return self._long(code, depth)

    def _long(self, code: int, depth: int) -> Any:
        """Return a value whose first byte says no more than its kind."""
        constants = {0xC0: None, 0xC2: False, 0xC3: True}
        if code in constants:
            return constants[code]
        if 0xC4 <= code <= 0xC6:
            return self._skipped(self._unsigned(1 << (code - 0xC4)))
        if 0xC7 <= code <= 0xC9:
            return self._extension(self._unsigned(1 << (code - 0xC7)), depth)
        if code in (0xCA, 0xCB):
            return struct.unpack(">f" if code == 0xCA else ">d", self._take(4 << (code - 0xCA)))[0]
        if 0xCC <= code <= 0xCF:
            return self._unsigned(1 << (code - 0xCC))
        if 0xD0 <= code <= 0xD3:
            return int.from_bytes(self._take(1 << (code - 0xD0)), "big", signed=True)
        if 0xD4 <= code <= 0xD8:
            return self._extension(1 << (code - 0xD4), depth)
        if 0xD9 <= code <= 0xDB:
            return self._text(self._unsigned(1 << (code - 0xD9)))
        if code in (0xDC, 0xDD):
            return self._list(self._unsigned(2 << (code - 0xDC)), depth)
        if code in (0xDE, 0xDF):
            return self._mapping(self._unsigned(2 << (code - 0xDE)), depth)
        raise DamagedError(f"byte {self._at - 1:,} begins no value of msgpack")

    def _must_be_few(self, count: int) -> None:
        if count > self._left or count > self._window.size - self._at:
            raise DamagedError(f"it declares {count:,} values at byte {self._at:,}")

    def _mapping(self, count: int, depth: int) -> dict[Any, Any]:
        self._must_be_few(2 * count)
        mapping: dict[Any, Any] = {}
        for _ in range(count):
            key = self._value(depth + 1)
            if not isinstance(key, (str, int)):
                raise DamagedError(f"a name before byte {self._at:,} is no text")
            if key in mapping:
                raise DamagedError(f"it holds {key!r:.80} twice")
            mapping[key] = self._value(depth + 1)
        return mapping

    def _list(self, count: int, depth: int) -> dict[str, Any]:
        """Return a list as a mapping by place, as Flax turns lists into state."""
        self._must_be_few(count)
        return {str(place): self._value(depth + 1) for place in range(count)}

    def _text(self, size: int) -> str:
        if size > _LONGEST_TEXT:
            return str(self._skipped(size))
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise DamagedError(f"the text before byte {self._at:,} is not UTF-8") from None

    def _skipped(self, size: int) -> tuple[int, int]:
        """Pass over bytes; return where they lie."""
        start = self._at
        if size > self._window.size - start:
            raise DamagedError(
                f"it ends at byte {self._window.size:,}, and {size:,} bytes from {start:,} on are "
                "wanted"
            )
        self._at += size
        return start, size

    def _extension(self, size: int, depth: int) -> Any:
        code = self._take(1)[0]
        start, _ = self._skipped(size)
        if code not in (_ARRAY, _SCALAR):
            return None  # a complex number, or what Flax does not write
        end, self._at = self._at, start
        about = self._value(depth + 1)
        if self._at != end or not isinstance(about, dict) or len(about) != 3:
            raise DamagedError(f"the array at byte {start:,} is not described as Flax does")
        return _array(start, about["0"], about["1"], about["2"])


def _array(start: int, said: Any, dtype: Any, place: Any) -> Array:
    shape = tuple(_in_order(said)) if said else ()
    valid = all(type(n) is int and 0 <= n < 2**63 for n in shape) and len(shape) <= _MOST_AXES
    if not valid or not isinstance(dtype, str) or not isinstance(place, tuple):
        raise DamagedError(f"the array at byte {start:,} is not described as Flax does")
    offset, size = place
    width = _WIDTHS.get(dtype)
    if width is not None and math.prod(shape) * width != size:
        raise DamagedError(
            f"the array at byte {start:,} has shape {list(shape)} of {dtype}, which does not fit "
            f"its {size:,} bytes"
        )
    return Array(shape, dtype, ((offset, math.prod(shape)),))


class _MsgpackReader:
    """An open file."""

    def __init__(self, path: Path, places: Mapping[str, Array]) -> None:
        self._path = path
        self._places = places
        with damage_of(path):
            self.window = window_of(path)
        self._is_open = True

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor."""
        words = STORED_AS[tensor.dtype].newbyteorder("<")
        first = 0
        with damage_of(self._path):
            for offset, count in self._places[tensor.name].parts:
                low, high = max(start, first), min(stop, first + count)
                if low < high:
                    at = offset + (low - first) * words.itemsize
                    raw = np.frombuffer(self.window.read(at, (high - low) * words.itemsize), words)
                    part = out[low - start : high - start]
                    if tensor.dtype == "bfloat16":
                        widen_bfloat16(raw.astype(np.uint16, copy=False), part)
                    else:
                        part[...] = raw
                first += count

    def close(self) -> None:
        """Close the file. Calling it twice is fine."""
        if self._is_open:
            self._is_open = False
            os.close(self.window.descriptor)
