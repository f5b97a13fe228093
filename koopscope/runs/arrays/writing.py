"""Arrays out: files keyed by the tensor's own name, written in order, whole or not at all.

Masks, predicted weights and modes all leave through here. A file appears under its name only when
it is complete; an existing one is kept unless the caller forces it. Holds no whole array.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.safetensors_file import safetensors_writer
from koopscope.runs.arrays.spec import ArraySpec, ArrayWriter
from koopscope.runs.arrays.state_dict import state_dict_writer
from koopscope.runs.atomic import drafted
from koopscope.runs.hdf5.slabs import slabs
from koopscope.runs.hdf5.transaction import created
from koopscope.runs.targets import check_targets

SUFFIXES = (".safetensors", ".npz", ".h5", ".pt")


def check_output(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Return the path if arrays can be written there.

    Raises
    ------
    KoopscopeError
        If the suffix is unknown, the directory is missing, or the file exists and ``force`` is not
        given.
    """
    target = check_suffix(path)
    check_targets([target], force=force)
    return target


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """Return the path if its name says how to write arrays.

    Raises
    ------
    KoopscopeError
        If the suffix is unknown.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise KoopscopeError(
            f"the name {target} does not say how to write arrays",
            f"end it in one of {', '.join(SUFFIXES)}",
        )
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
        Ends in ``.safetensors``, ``.npz``, ``.h5``, or ``.pt``, a state dict of PyTorch. All are
        written as the values arrive.
    specs
        Every array, in the order in which its values will come.
    metadata
        Strings that travel with the file: attributes of the root (``.h5``), the header
        (``.safetensors``), a JSON array ``__metadata__`` (``.npz``), a member ``koopscope.json``
        (``.pt``).
    force
        Replace an existing file.

    Raises
    ------
    KoopscopeError
        If the file cannot be written there.
    """
    target = check_output(path, force)
    writers = {
        ".h5": _hdf5,
        ".npz": _npz,
        ".safetensors": safetensors_writer,
        ".pt": state_dict_writer,
    }
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
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise KoopscopeError(
                f"{name} cannot be a member of a .npz file: unpacked, it would leave its folder",
                "write .safetensors or .h5, or leave it out with --exclude",
            )
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
