"""Arrays out: files keyed by the tensor's own name, written in order, whole or not at all.

Masks, predicted weights and modes all leave through here. A file appears under its name only when
it is complete; an existing one is kept unless the caller forces it.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.atomic import drafted
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.transaction import created

SUFFIXES = (".safetensors", ".npz", ".h5")


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of one array to be written.

    ``dtype`` is NumPy's name (``bool``, ``float32``, ``complex128``, ...) or ``bfloat16``, whose
    values are handed over as uint16 words.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def words(self) -> np.dtype[Any]:
        """The NumPy dtype that holds the values."""
        return np.dtype(np.uint16 if self.dtype == "bfloat16" else self.dtype)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class ArrayWriter(Protocol):
    """Takes arrays in the specs' order, each one's flattened values from start to end."""

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add the next values (1-D) of the array called ``name``."""


def check_output(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Return the path if arrays can be written there.

    Raises
    ------
    KoopscopeError
        If the suffix is unknown, the directory is missing, the file exists and ``force`` is not
        given, or ``.safetensors`` is asked for without the library.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise KoopscopeError(
            f"the name {target} does not say how to write arrays",
            f"end it in one of {', '.join(SUFFIXES)}",
        )
    if target.suffix == ".safetensors":
        _safetensors()
    if not target.parent.is_dir():
        raise KoopscopeError(
            f"{target} cannot be written: {target.parent} is not a directory",
            "create the directory first",
        )
    if target.exists() and not force:
        raise KoopscopeError(f"{target} exists and is kept", "pass --force to replace it")
    return target


@contextmanager
def array_writer(
    path: str | os.PathLike[str],
    specs: Mapping[str, ArraySpec],
    metadata: Mapping[str, str] | None = None,
    *,
    force: bool = False,
) -> Iterator[ArrayWriter]:
    """Write arrays to ``path``; on any exception nothing is left behind.

    Parameters
    ----------
    path
        Ends in ``.h5`` or ``.npz``, written as the values arrive, or in ``.safetensors``, whose
        library takes all arrays at once (one copy of them in memory).
    specs
        Every array, in the order in which its values will come.
    metadata
        Strings that travel with the file: attributes of the root (``.h5``), the header
        (``.safetensors``), a JSON array ``__metadata__`` (``.npz``).
    force
        Replace an existing file.

    Raises
    ------
    KoopscopeError
        If the file cannot be written there.
    """
    target = check_output(path, force)
    writers = {".h5": _hdf5, ".npz": _npz, ".safetensors": _safetensors_file}
    try:
        with (
            drafted(target) as draft,
            writers[target.suffix](draft, specs, metadata or {}) as writer,
        ):
            yield writer
    except OSError as error:
        raise KoopscopeError(
            f"{target} cannot be written: {error.strerror or error}",
            "check free space and permissions",
        ) from error


class _Hdf5Writer:
    def __init__(self, file: h5py.File, specs: Mapping[str, ArraySpec]) -> None:
        self._file, self._specs = file, specs
        self._filled = dict.fromkeys(specs, 0)
        for name, spec in specs.items():
            dataset = file.create_dataset(name, spec.shape, spec.words, track_order=True)
            if spec.dtype == "bfloat16":
                dataset.attrs["dtype"] = spec.dtype

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        start = self._filled[name]
        done = 0
        for slab in slabs(self._specs[name].shape, start, start + len(values)):
            where = tuple(slice(a, a + n) for a, n in zip(slab.start, slab.count, strict=True))
            part = values[done : done + slab.size].reshape(slab.count)
            self._file[name][where] = part
            done += slab.size
        self._filled[name] = start + done


@contextmanager
def _hdf5(
    path: Path, specs: Mapping[str, ArraySpec], metadata: Mapping[str, str]
) -> Iterator[ArrayWriter]:
    with created(path) as file:
        file.attrs.update(metadata)
        yield _Hdf5Writer(file, specs)


class _NpzWriter:
    """Streams one .npy member after another; NumPy's own savez wants every array at once."""

    def __init__(self, archive: zipfile.ZipFile, specs: Mapping[str, ArraySpec]) -> None:
        self._archive, self._specs = archive, specs
        self.member = ExitStack()  # an archive closes only after the member it is writing
        self._out: IO[bytes] | None = None
        self._left = 0

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        if self._out is None:
            self._begin(name)
        assert self._out is not None
        self._out.write(np.ascontiguousarray(values, self._specs[name].words).tobytes())
        self._left -= len(values)
        if self._left <= 0:
            self.member.close()
            self._out = None

    def _begin(self, name: str) -> None:
        spec = self._specs[name]
        self._out = self.member.enter_context(
            self._archive.open(f"{name}.npy", "w", force_zip64=True)
        )
        header = {
            "descr": np.lib.format.dtype_to_descr(spec.words),
            "fortran_order": False,
            "shape": spec.shape,
        }
        np.lib.format.write_array_header_2_0(self._out, header)
        self._left = spec.size


@contextmanager
def _npz(
    path: Path, specs: Mapping[str, ArraySpec], metadata: Mapping[str, str]
) -> Iterator[ArrayWriter]:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        words = {name: spec.dtype for name, spec in specs.items() if spec.dtype == "bfloat16"}
        said = dict(metadata) | ({"dtypes": json.dumps(words)} if words else {})
        if said:
            with archive.open("__metadata__.npy", "w") as member:
                np.lib.format.write_array(member, np.array(json.dumps(said)))
        writer = _NpzWriter(archive, specs)
        with writer.member:
            yield writer


class _MemoryWriter:
    def __init__(self, specs: Mapping[str, ArraySpec]) -> None:
        self._filled = dict.fromkeys(specs, 0)
        self.arrays = {name: np.empty(spec.size, spec.words) for name, spec in specs.items()}

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        start = self._filled[name]
        self.arrays[name][start : start + len(values)] = values
        self._filled[name] = start + len(values)


@contextmanager
def _safetensors_file(
    path: Path, specs: Mapping[str, ArraySpec], metadata: Mapping[str, str]
) -> Iterator[ArrayWriter]:
    library = _safetensors()
    writer = _MemoryWriter(specs)
    yield writer
    # Pointers rather than arrays: NumPy has no bfloat16 of its own to say what the words are.
    tensors = {
        name: library.TensorSpec(
            dtype=spec.dtype,
            shape=spec.shape,
            data_ptr=writer.arrays[name].ctypes.data,
            data_len=writer.arrays[name].nbytes,
        )
        for name, spec in specs.items()
    }
    try:
        library.serialize_file(tensors, str(path), dict(metadata) or None)
    except library.SafetensorError as error:  # how it reports what the system refuses
        raise OSError(str(error).rpartition("error: ")[2]) from error


def _safetensors() -> Any:
    try:
        library: Any = import_module("safetensors")
    except ImportError:
        library = None
    if not hasattr(library, "TensorSpec"):
        raise KoopscopeError(
            "writing .safetensors needs the safetensors library, 0.8 or newer",
            "pip install 'koopscope[safetensors]', or end the name in .npz or .h5",
        )
    return library
