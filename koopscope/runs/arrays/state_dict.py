"""Write PyTorch's own checkpoint, a state dict that ``torch.load`` reads, as values arrive.

A zip archive: a pickle that names every tensor, and each one's raw numbers as a member of its own
(torch/csrc/jit/serialization, ``PyTorchFileWriter``). Needs no PyTorch; holds no whole tensor.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.spec import ArraySpec, ArrayWriter

#: What PyTorch calls the storage of a dtype.
STORAGES = {
    "bool": "BoolStorage",
    "uint8": "ByteStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}

#: The folder inside the archive, and where its numbers start: at multiples of so many bytes.
_FOLDER = "archive"
_ALIGNED = 64

#: Bytes of a member's header before its name, and of the extra field of a large one.
_HEADER, _LARGE = 30, 20


class _StateDictWriter:
    """Streams one storage after another, each one a stored member of the archive."""

    def __init__(self, archive: zipfile.ZipFile, specs: Mapping[str, ArraySpec]) -> None:
        self._archive, self._specs = archive, specs
        self._keys = {name: str(k) for k, name in enumerate(specs)}
        self.member = ExitStack()  # an archive closes only after the member it is writing
        self._out: IO[bytes] | None = None
        self._left = 0

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write the next values of the array whose turn it is."""
        spec = self._specs[name]
        if self._out is None:
            self._out = self.member.enter_context(
                _member(self._archive, f"data/{self._keys[name]}", spec.nbytes)
            )
            self._left = spec.size
        self._out.write(spec.bytes_of(values))
        self._left -= len(values)
        if self._left <= 0:
            self.member.close()
            self._out = None


@contextmanager
def state_dict_writer(
    path: Path, specs: Mapping[str, ArraySpec], metadata: Mapping[str, str]
) -> Iterator[ArrayWriter]:
    """Write arrays as one state dict; the metadata is a member ``koopscope.json`` beside it.

    Raises
    ------
    KoopscopeError
        If PyTorch has no such dtype.
    """
    for name, spec in specs.items():
        if spec.dtype not in STORAGES:
            raise KoopscopeError(
                f"PyTorch has no {spec.dtype}, the dtype of {name}", "end the name in .npz or .h5"
            )
    small = {
        "data.pkl": _state_dict(specs),
        "byteorder": b"little",
        "koopscope.json": json.dumps(dict(metadata)).encode(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, content in small.items():
            with _member(archive, name, len(content)) as out:
                out.write(content)
        for key, spec in enumerate(specs.values()):
            if not spec.size:
                _member(archive, f"data/{key}", 0).close()
        writer = _StateDictWriter(archive, specs)
        with writer.member:
            yield writer
        with _member(archive, "version", 2) as out:
            out.write(b"3\n")


def _member(archive: zipfile.ZipFile, name: str, size: int) -> IO[bytes]:
    """Open a member whose content starts where PyTorch can map it."""
    entry = zipfile.ZipInfo(f"{_FOLDER}/{name}")
    assert archive.fp is not None
    is_large = size >= zipfile.ZIP64_LIMIT
    begin = archive.fp.tell() + _HEADER + len(entry.filename) + (_LARGE if is_large else 0) + 4
    padding = -begin % _ALIGNED
    entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return archive.open(entry, "w", force_zip64=is_large)


def _state_dict(specs: Mapping[str, ArraySpec]) -> bytes:
    """Return the pickle of a dictionary from names to tensors, each in a storage of its own."""
    parts = [pickle.PROTO, b"\x02", pickle.EMPTY_DICT, pickle.MARK]
    for key, (name, spec) in enumerate(specs.items()):
        strides = [math.prod(spec.shape[axis + 1 :]) for axis in range(len(spec.shape))]
        parts += [
            _text(name),
            _global("torch._utils", "_rebuild_tensor_v2"),
            pickle.MARK,
            pickle.MARK,
            _text("storage"),
            _global("torch", STORAGES[spec.dtype]),
            _text(str(key)),
            _text("cpu"),
            _whole(spec.size),
            pickle.TUPLE,
            pickle.BINPERSID,
            _whole(0),
            *(pickle.MARK, *map(_whole, spec.shape), pickle.TUPLE),
            *(pickle.MARK, *map(_whole, strides), pickle.TUPLE),
            pickle.NEWFALSE,
            *(_global("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE),
            pickle.TUPLE,
            pickle.REDUCE,
        ]
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _whole(number: int) -> bytes:
    data = pickle.encode_long(number)
    return pickle.LONG1 + bytes([len(data)]) + data
