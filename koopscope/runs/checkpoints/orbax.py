"""Orbax checkpoints of JAX, read through the ``tensorstore`` package.

``_METADATA`` names the arrays of a tree; they lie as Zarr in an OCDBT store, or in a folder each
(https://orbax.readthedocs.io, "Checkpoint format"). Opened read-only, and read a slab at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.run import FloatArray, TensorInfo

METADATA = "_METADATA"

#: In the name of a folder that Orbax has not completed.
UNFINISHED = ".orbax-checkpoint-tmp"

_METADATA_LIMIT = 64 * 2**20
_MANIFEST = "manifest.ocdbt"

#: A part of an array that is stored in one piece must be unpacked as a whole.
_LARGEST_CHUNK = 512 * 2**20

_COPY_AGAIN = "copy the whole checkpoint"


def orbax_snapshot(metadata: Path) -> Snapshot:
    """Describe the folder of an Orbax checkpoint by its ``_METADATA``.

    Raises
    ------
    KoopscopeError
        If it is damaged, or tensorstore is not installed.
    """
    folder = metadata.parent
    tensorstore = _tensorstore(folder)
    said = _said(metadata)
    contents = Contents(str(folder))
    stores: dict[str, Any] = {}
    for parts in _names(metadata, said):
        name = "/".join(parts)
        array = _opened(tensorstore, folder, parts, said)
        dtype = array.dtype.name
        number = partial(_number, folder, name, array) if array.rank == 0 else None
        if contents.add(name, tuple(array.shape), dtype, number) is not None:
            chunk = (
                math.prod(array.chunk_layout.read_chunk.shape or ())
                * array.dtype.numpy_dtype.itemsize
            )
            if chunk > _LARGEST_CHUNK:
                raise KoopscopeError(
                    f"{name} of {folder} is stored in pieces of {chunk:,} bytes",
                    f"koopscope unpacks at most {_LARGEST_CHUNK:,} at once",
                )
            stores[name] = array
    names = [list(parts) for parts in _names(metadata, said)]
    return contents.snapshot("Orbax", partial(_OrbaxReader, folder, names, said))


def _tensorstore(folder: Path) -> Any:
    try:
        import tensorstore
    except ImportError:
        raise KoopscopeError(
            f"{folder} is a checkpoint of Orbax, which is read with the package tensorstore",
            "pip install 'koopscope[orbax]'",
        ) from None
    return tensorstore


def _said(metadata: Path) -> dict[str, Any]:
    try:
        with metadata.open("rb") as file:
            said = loaded(file.read(_METADATA_LIMIT))
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("tree_metadata"), dict):
        raise KoopscopeError(f"{metadata} is not the metadata of an Orbax checkpoint", _COPY_AGAIN)
    return said


def _names(metadata: Path, said: Mapping[str, Any]) -> list[list[str]]:
    """Return the path of every stored array in the tree."""
    names = []
    for entry in said["tree_metadata"].values():
        try:
            if entry["value_metadata"].get("skip_deserialize"):
                continue
            parts = [str(key["key"]) for key in entry["key_metadata"]]
        except (KeyError, TypeError, AttributeError):
            raise KoopscopeError(
                f"{metadata} is not the metadata of an Orbax checkpoint", _COPY_AGAIN
            ) from None
        if not parts or any(
            "/" in part or "\0" in part or part in ("", ".", "..") for part in parts
        ):
            raise KoopscopeError(
                f"{metadata} names the array {'.'.join(parts)!r:.80}, which is no name in a store",
                _COPY_AGAIN,
            )
        names.append(parts)
    return names


def _opened(tensorstore: Any, folder: Path, parts: list[str], said: Mapping[str, Any]) -> Any:
    """Return an array of the store, opened for reading; no weight is read."""
    key = ".".join(parts)
    home = Path(folder).absolute()
    if (home / _MANIFEST).is_file():
        store: dict[str, Any] = {"driver": "ocdbt", "base": f"file://{home}/", "path": f"{key}/"}
    else:
        store = {"driver": "file", "path": f"{home / key}/"}
    spec = {"driver": "zarr3" if said.get("use_zarr3") is True else "zarr", "kvstore": store}
    try:
        return tensorstore.open(spec, read=True, open=True).result()
    except Exception as error:  # tensorstore tells every kind of damage by ValueError and others
        raise KoopscopeError(
            f"{'/'.join(parts)} of {folder} cannot be read: {_first_line(error)}", _COPY_AGAIN
        ) from None


def _number(folder: Path, name: str, array: Any) -> float:
    try:
        return float(array.read().result())
    except Exception as error:
        raise KoopscopeError(
            f"{name} of {folder} cannot be read: {_first_line(error)}", _COPY_AGAIN
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].split(" [", 1)[0][:200]


class _OrbaxReader:
    """An open checkpoint; arrays are opened when they are first read."""

    def __init__(self, folder: Path, names: list[list[str]], said: Mapping[str, Any]) -> None:
        self._folder = folder
        self._parts = {"/".join(parts): parts for parts in names}
        self._said = said
        self._open: dict[str, Any] = {}

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor."""
        if tensor.name not in self._open:
            tensorstore = _tensorstore(self._folder)
            parts = self._parts[tensor.name]
            self._open[tensor.name] = _opened(tensorstore, self._folder, parts, self._said)
        array = self._open[tensor.name]
        done = 0
        for slab in slabs(tensor.shape, start, stop):
            where = tuple(
                slice(low, low + count) for low, count in zip(slab.start, slab.count, strict=True)
            )
            try:
                part = np.asarray(array[where].read().result())
            except Exception as error:
                raise KoopscopeError(
                    f"{tensor.name} of {self._folder} cannot be read: {_first_line(error)}",
                    _COPY_AGAIN,
                ) from None
            out[done : done + slab.size] = part.reshape(-1).astype(out.dtype, copy=False)
            done += slab.size

    def close(self) -> None:
        """Let the arrays go."""
        self._open.clear()
