"""Write ``.safetensors`` as values arrive: a header of JSON, then the raw numbers in its order.

The format is that of https://github.com/huggingface/safetensors. Needs no library.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.spec import ArraySpec, ArrayWriter

#: What the format calls a dtype. It has no complex128.
NAMES = {
    "bool": "BOOL",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}


class _SafetensorsWriter:
    """Puts each array where the header says, in whatever order they come."""

    def __init__(
        self, file: IO[bytes], specs: Mapping[str, ArraySpec], places: Mapping[str, int]
    ) -> None:
        self._file, self._specs = file, specs
        self._next = dict(places)

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write the next values of an array behind those that it has."""
        data = self._specs[name].bytes_of(values)
        self._file.seek(self._next[name])
        self._file.write(data)
        self._next[name] += len(data)


@contextmanager
def safetensors_writer(
    path: Path, specs: Mapping[str, ArraySpec], metadata: Mapping[str, str]
) -> Iterator[ArrayWriter]:
    """Write arrays and strings of metadata.

    Raises
    ------
    KoopscopeError
        If the format has no name for a dtype.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    places, end = {}, 0
    # Widest numbers first, as the format's own library does: readers map them where they lie.
    for name in sorted(specs, key=lambda each: -specs[each].words.itemsize):
        spec = specs[name]
        if spec.dtype not in NAMES:
            raise KoopscopeError(
                f".safetensors has no {spec.dtype}, the dtype of {name}",
                "end the name in .npz or .h5",
            )
        header[name] = {
            "dtype": NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [end, end + spec.nbytes],
        }
        places[name], end = end, end + spec.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        yield _SafetensorsWriter(file, specs, {name: begin + at for name, at in places.items()})
