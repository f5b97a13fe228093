"""safetensors files and Hugging Face's sharded sets of them, read in place.

The format is a length, a JSON header and the bytes (https://github.com/huggingface/safetensors):
small enough to check every number of it here, so that a damaged file is named with its tensor. Only
what the header and the file agree on is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.dtypes import STORED_AS, widen_bfloat16
from koopscope.runs.handover import Handover
from koopscope.runs.names import COUNTERS, Unit, plain_names
from koopscope.runs.run import FloatArray, TensorInfo

#: The format's own limit on its header.
HEADER_LIMIT = 100_000_000

#: No offset and no axis is larger, and no array has more axes (NumPy's own limit).
_LARGEST = 2**63
_MOST_AXES = 32

_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_DTYPES |= {"C64": "complex64"}
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "I32": 4}
_BYTES |= {"U32": 4, "I64": 8, "U64": 8, "F16": 2, "BF16": 2, "F32": 4, "F64": 8}
_BYTES |= {"C64": 8}

#: Digits of the largest step that is one.
_LONGEST_STEP = 18

_COPY_AGAIN = "the file is damaged or incomplete; save or copy it again"

#: How a single number is stored, by NumPy's name of a float or the format's code of an integer.
_WORDS = {"float16": "<f2", "float32": "<f4", "float64": "<f8", "I64": "<i8", "I32": "<i4"}
_WORDS |= {"U64": "<u8", "U32": "<u4", "I16": "<i2", "U16": "<u2", "I8": "i1", "U8": "u1"}


@dataclass(frozen=True)
class HeaderEntry:
    """A tensor of any kind: ``dtype`` is NumPy's name of a float, else the format's own code."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int


def stored_tensors(path: Path) -> tuple[list[HeaderEntry], dict[str, str]]:
    """Return every tensor of one file in its order, floats or not, and the file's metadata.

    Raises
    ------
    KoopscopeError
        If it is damaged.
    """
    with closing(_Files()) as files:
        header, base = _header(path, files)
    said = _said(header.pop("__metadata__", {}))
    entries = sorted(header.items(), key=lambda entry: _offsets(path, *entry))
    return [HeaderEntry(n, *_checked_entry(path, n, entry, base)) for n, entry in entries], said


@dataclass(frozen=True)
class _Place:
    """Where a tensor's bytes are."""

    path: Path
    start: int


def safetensors_snapshot(path: Path) -> Snapshot:
    """Describe one ``.safetensors`` file.

    Raises
    ------
    KoopscopeError
        If it is damaged.
    """
    return _snapshot(path, [path], None)


def sharded_snapshot(index: Path) -> Snapshot:
    """Describe a sharded set by its ``model.safetensors.index.json``.

    Raises
    ------
    KoopscopeError
        If the index or a shard is missing or damaged, or they disagree.
    """
    weight_map = read_index(index)
    shards = [index.with_name(name) for name in dict.fromkeys(weight_map.values())]
    for shard in shards:
        if not shard.is_file():
            lost = next(name for name, home in weight_map.items() if home == shard.name)
            raise KoopscopeError(
                f"the shard {shard} is missing: {index.name} keeps {lost} in it",
                "copy the whole checkpoint",
            )
    return _snapshot(index, shards, weight_map)


def read_index(index: Path) -> dict[str, str]:
    """Return the file name of each tensor in a sharded checkpoint.

    Raises
    ------
    KoopscopeError
        If the index is not readable, or names files elsewhere.
    """
    try:
        with index.open("rb") as file:
            weight_map = loaded(file.read(HEADER_LIMIT))["weight_map"]
        named = {str(name): str(home) for name, home in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise KoopscopeError(
            f"{index} is not a readable index of shards", "save or copy the checkpoint again"
        ) from None
    for home in named.values():
        if Path(home).name != home or home in ("", ".", ".."):
            raise KoopscopeError(
                f"{index} names the shard {home!r}, which is not next to it",
                "koopscope reads shards only from the folder of their index",
            )
    return named


def _snapshot(path: Path, files: list[Path], weight_map: Mapping[str, str] | None) -> Snapshot:
    opened = _Files()
    try:
        return _described(path, files, weight_map, opened)
    except BaseException:
        opened.close()
        raise


def _described(
    path: Path, files: list[Path], weight_map: Mapping[str, str] | None, opened: _Files
) -> Snapshot:
    infos: dict[str, tuple[tuple[int, ...], str]] = {}
    places: dict[str, _Place] = {}
    said: dict[str, str] = {}
    for file in files:
        header, base = _header(file, opened)
        said |= _said(header.pop("__metadata__", {}))
        for name, entry in header.items():
            shape, dtype, start = _checked_entry(file, name, entry, base)
            if name in infos or (weight_map is not None and weight_map.get(name) != file.name):
                home = places[name].path.name if name in infos else (weight_map or {}).get(name)
                raise KoopscopeError(
                    f"{file} holds {name}, which belongs in {home or 'no shard'}",
                    "the shards are of different checkpoints; copy the checkpoint again",
                )
            infos[name] = (shape, dtype)
            places[name] = _Place(file, start)
        missing = [n for n, home in (weight_map or {}).items() if home == file.name]
        for name in missing:
            if name not in infos:
                raise KoopscopeError(
                    f"{file} lacks {name}, which the index keeps in it", "copy the whole checkpoint"
                )
    shown = plain_names(list(infos))
    contents = Contents(str(path))
    homes: dict[str, _Place] = {}
    for name, (shape, dtype) in infos.items():
        number = partial(_number, opened, places[name], dtype) if dtype in _WORDS else None
        if contents.add(shown[name], shape, dtype, number) is not None:
            homes[shown[name]] = places[name]
    # safetensors.torch.save_model stores a tied tensor once and notes its other names.
    for name, owner in said.items():
        if owner in infos:
            contents.leave_out(name, f"tied to {owner}")
    kind = "safetensors" if weight_map is None else "sharded safetensors"
    reader = Handover(
        SafetensorsReader(homes, opened), partial(SafetensorsReader, homes), len(opened)
    )
    return contents.snapshot(kind, reader, _step(said))


def _number(opened: _Files, place: _Place, dtype: str) -> float:
    """Return the only value of a tensor."""
    words = np.dtype(_WORDS[dtype])
    raw = _read_at(opened[place.path], place.start, words.itemsize)
    if len(raw) < words.itemsize:
        raise KoopscopeError(f"{place.path} ends inside a number", _COPY_AGAIN)
    return float(np.frombuffer(raw, words)[0])


class _Files(dict[Path, int]):
    """Descriptors of files, opened when they are first asked for."""

    def __missing__(self, path: Path) -> int:
        self[path] = os.open(path, os.O_RDONLY)
        return self[path]

    def close(self) -> None:
        """Close them all."""
        while self:
            os.close(self.popitem()[1])


class SafetensorsReader:
    """Open safetensors files that hold one snapshot.

    Parameters
    ----------
    places
        Where each tensor is.
    files
        Those that are open already; they are closed with the reader.
    """

    def __init__(self, places: Mapping[str, _Place], files: _Files | None = None) -> None:
        self._places = places
        self._files = _Files() if files is None else files

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor.

        Raises
        ------
        KoopscopeError
            If the file cannot be read, or ends inside the tensor.
        """
        place = self._places[tensor.name]
        words = STORED_AS[tensor.dtype].newbyteorder("<")
        is_direct = out.dtype == words and out.flags.c_contiguous
        stored: FloatArray = out if is_direct else np.empty(stop - start, words)
        try:
            count = _fill(
                self._files[place.path],
                place.start + start * words.itemsize,
                stored.view(np.uint8).data,
            )
        except OSError as error:
            raise KoopscopeError(
                f"{tensor.name} of {place.path} cannot be read: {error}", _COPY_AGAIN
            ) from None
        if count < stored.nbytes:
            raise KoopscopeError(f"{place.path} ends inside {tensor.name}", _COPY_AGAIN)
        if tensor.dtype == "bfloat16":
            widen_bfloat16(stored.astype(np.uint16, copy=False), out)
        elif not is_direct:
            out[...] = stored

    def close(self) -> None:
        """Close the files."""
        self._files.close()


def _read_at(file: int, offset: int, size: int) -> bytes:
    content = bytearray(size)
    return bytes(content[: _fill(file, offset, memoryview(content))])


def _fill(file: int, offset: int, out: memoryview) -> int:
    """Read into ``out`` from an offset on; return how many bytes there were."""
    done = 0
    while done < len(out) and (count := os.preadv(file, [out[done:]], offset + done)):
        done += count
    return done


def _header(path: Path, files: _Files) -> tuple[dict[str, Any], int]:
    """Return a file's header and where its bytes begin."""
    try:
        file = files[path]
        size = os.fstat(file).st_size
        length = int.from_bytes(_read_at(file, 0, 8), "little")
        if size < 8 or length > size - 8:
            raise KoopscopeError(
                f"{path} is truncated: its header should take {length} bytes and the file has "
                f"{size}",
                _COPY_AGAIN,
            )
        if length > HEADER_LIMIT:
            raise KoopscopeError(f"{path} has a header of {length} bytes", _COPY_AGAIN)
        header = loaded(_read_at(file, 8, length))
    except OSError as error:
        raise KoopscopeError(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except ValueError:
        raise KoopscopeError(f"{path} is not a safetensors file", _COPY_AGAIN) from None
    if not isinstance(header, dict):
        raise KoopscopeError(f"{path} is not a safetensors file", _COPY_AGAIN)
    _must_tile(path, header, size - 8 - length)
    return header, 8 + length


def _must_tile(path: Path, header: Mapping[str, Any], size: int) -> None:
    """Make sure that the tensors lie one after the other, as the format demands."""
    spans = []
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = _offsets(path, name, entry)
            spans.append((begin, end, name))
    reached = 0
    for begin, end, name in sorted(spans):
        if begin != reached or end < begin:
            raise KoopscopeError(
                f"{name} of {path} has the wrong offsets {begin}:{end}, where {reached} is the end "
                "of the tensor before",
                _COPY_AGAIN,
            )
        if end > size:
            raise KoopscopeError(
                f"{path} is truncated: {name} ends at byte {end} of {size}", _COPY_AGAIN
            )
        reached = end


def _offsets(path: Path, name: str, entry: Any) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(offset) is int and 0 <= offset < _LARGEST for offset in offsets)
    ):
        raise KoopscopeError(f"{name} of {path} has no valid offsets", _COPY_AGAIN)
    return offsets[0], offsets[1]


def _checked_entry(
    path: Path, name: str, entry: dict[str, Any], base: int
) -> tuple[tuple[int, ...], str, int]:
    begin, end = _offsets(path, name, entry)
    shape, dtype = entry.get("shape"), entry.get("dtype")
    if (
        not isinstance(shape, list)
        or len(shape) > _MOST_AXES
        or not all(type(n) is int and 0 <= n < _LARGEST for n in shape)
    ):
        raise KoopscopeError(f"{name} of {path} has no valid shape", _COPY_AGAIN)
    if dtype in _BYTES and math.prod(shape) * _BYTES[dtype] != end - begin:
        raise KoopscopeError(
            f"{name} of {path} has shape {shape} of {dtype}, which does not fit its "
            f"{end - begin} bytes",
            _COPY_AGAIN,
        )
    return tuple(shape), _DTYPES.get(str(dtype), str(dtype)), base + begin


def _said(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict):
        return {}
    return {str(key): value for key, value in metadata.items() if isinstance(value, str)}


def _step(said: Mapping[str, str]) -> tuple[int | None, Unit]:
    for key, unit in COUNTERS.items():
        if said.get(key, "").isdecimal() and len(said[key]) <= _LONGEST_STEP:
            return int(said[key]), unit
    return None, "step"
