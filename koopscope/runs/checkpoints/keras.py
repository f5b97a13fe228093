"""Checkpoints of Keras: ``.weights.h5``, ``.keras`` and the legacy ``.h5``.

Reads them with HDF5 alone; does not import Keras, nor build a model from its config.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import h5py
import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.hdf5_tensors import (
    Datasets,
    Hdf5File,
    Hdf5Reader,
    datasets,
    must_be_written,
    refused,
    tensor_dtype,
)
from koopscope.runs.checkpoints.npz import DAMAGE
from koopscope.runs.checkpoints.snapshot import Snapshot, TensorReader
from koopscope.runs.dtypes import unread_weights, values_problem
from koopscope.runs.handover import Handover
from koopscope.runs.hdf5 import safety
from koopscope.runs.run import Skipped, TensorInfo

#: The weights inside a ``.keras`` archive, and the largest config.json that is looked at.
_WEIGHTS = "model.weights.h5"
_CONFIG_LIMIT = 64 * 2**20

#: Weights that claim to unpack to more than this many times their size are refused, if not small.
_RATIO_LIMIT = 20
_SMALL = 64 * 2**20

_NUMBERED_VARIABLE = re.compile(r"(^|/)vars/\d+$")

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def is_keras3(names: Iterable[str]) -> bool:
    """Return whether datasets of these names have the layout of Keras 3's ``save_weights``."""
    return any(_NUMBERED_VARIABLE.search(name) for name in names)


def is_legacy_keras(root: h5py.h5g.GroupID) -> bool:
    """Return whether a file has the layout of Keras 2's ``.h5``."""
    return bool(h5py.h5a.exists(root, b"layer_names") or root.links.exists(b"model_weights"))


@dataclass(frozen=True)
class _Contents:
    """What one file holds: tensors, where each lies, what is left out, the optimizer's count."""

    tensors: tuple[TensorInfo, ...]
    places: Mapping[str, str]
    skipped: tuple[Skipped, ...]
    step: int | None

    def snapshot(self, path: Path, kind: str, reader: Callable[[], TensorReader]) -> Snapshot:
        return Snapshot(
            path=str(path),
            kind=kind,
            tensors=self.tensors,
            open=reader,
            step=self.step,
            skipped=self.skipped,
        )


def keras3_snapshot(file: Hdf5File) -> Snapshot:
    """Describe a ``.weights.h5`` file of Keras 3.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    contents = _keras3_contents(file.path, file.file, file.members, {})
    return contents.snapshot(file.path, "Keras 3 weights", file.reader(contents.places))


def keras_archive_snapshot(path: Path) -> Snapshot:
    """Describe a ``.keras`` archive.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    archive = _archive(path)
    names = layer_names(_config(archive))
    file = _weights_of(path, archive)
    try:
        with safety.hdf5_failures(path):
            members = dict(datasets(path, h5py.h5g.open(file.id, b"/")))
            contents = _keras3_contents(path, file, members, names)
    except BaseException:
        file.close()
        raise
    reader = Handover(
        Hdf5Reader(file, path, contents.places),
        lambda: Hdf5Reader(_weights_of(path, _archive(path)), path, contents.places),
    )
    return contents.snapshot(path, "Keras 3 model", reader)


def legacy_snapshot(file: Hdf5File) -> Snapshot:
    """Describe a legacy ``.h5`` file, saved weights or a saved model.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    top = "" if "layer_names" in file.file.attrs else "model_weights/"
    contents = _legacy_contents(file.file, top, file.members)
    return contents.snapshot(file.path, "legacy Keras weights", file.reader(contents.places))


def layer_names(config: Any, prefix: str = "") -> dict[str, str]:
    """Return the user's name of each layer by its path in the weights file, from config.json.

    Keras stores the layers of a model as ``layers/<class>``, ``layers/<class>_1``, ...
    """
    names: dict[str, str] = {}
    used: Counter[str] = Counter()
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
            continue
        stem = _snake_case(layer["class_name"])
        place = f"{prefix}layers/{stem}" + (f"_{used[stem]}" if used[stem] else "")
        used[stem] += 1
        own = layer.get("config")
        if isinstance(own, dict) and isinstance(own.get("name"), str):
            names[place] = own["name"]
        names.update(layer_names(layer, f"{place}/"))
    return names


def _snake_case(name: str) -> str:
    """Keras' own rule, from CamelCase class names to the names of groups."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _keras3_contents(
    path: Path, file: h5py.File, found: Datasets, config_names: Mapping[str, str]
) -> _Contents:
    tensors: list[TensorInfo] = []
    places: dict[str, str] = {}
    skipped: list[Skipped] = []
    step = None
    members = dict(sorted(found.items(), key=lambda pair: safety.address(pair[1])))
    names = {place: _user_name(file, place, config_names) for place in members}
    if len(set(names.values())) < len(names):
        names = {place: place for place in members}
    for place, dataset in members.items():
        if place.startswith("optimizer/"):
            step = _iterations(dataset) if place == "optimizer/vars/0" else step
            continue
        kind = "buffer" if _is_moving_statistic(place, members) else "parameter"
        shape, dtype = tuple(dataset.shape), tensor_dtype(dataset)
        problem = values_problem(dtype, shape)
        if problem:
            skipped.append(Skipped(names[place], problem, unread_weights(place, shape, dtype)))
        else:
            must_be_written(path, place, dataset)
            tensors.append(TensorInfo(names[place], shape, dtype, kind))
            places[names[place]] = place
    if any(place.startswith("optimizer/") for place in members):
        skipped.append(Skipped("optimizer", "state of the optimizer, not a weight"))
    return _Contents(tuple(tensors), places, tuple(skipped), step)


def _user_name(file: h5py.File, place: str, config_names: Mapping[str, str]) -> str:
    """Return ``inner/deep/0`` for ``layers/sequential/layers/dense/vars/0``."""
    *groups, number = place.split("/")
    shown: list[str] = []
    for depth, part in enumerate(groups, start=1):
        if part in (*_CONTAINERS, "vars"):
            continue
        group = "/".join(groups[:depth])
        given = None
        if f"{group}/vars" in file:
            given = safety.text_attribute(file[f"{group}/vars"].id, "name")
        shown.append(given or config_names.get(group) or part)
    return "/".join([*shown, number])


def _is_moving_statistic(place: str, members: Mapping[str, h5py.h5d.DatasetID]) -> bool:
    """Batch normalization keeps its two moving statistics after what it trains."""
    group, _, number = place.rpartition("/")
    layer = group.removesuffix("/vars").rpartition("/")[2]
    if not re.fullmatch(r"batch_normalization(_\d+)?", layer) or not number.isdecimal():
        return False
    count = sum(other.rpartition("/")[0] == group for other in members)
    return int(number) >= count - 2


def _legacy_contents(
    file: h5py.File, top: str, members: Mapping[str, h5py.h5d.DatasetID]
) -> _Contents:
    tensors: list[TensorInfo] = []
    places: dict[str, str] = {}
    skipped: list[Skipped] = []
    step = None
    weights = file[top] if top else file
    for layer in (*_texts(weights, "layer_names"), "top_level_model_weights"):
        if layer not in weights:
            continue
        for weight in _texts(weights[layer], "weight_names"):
            place = f"{top}{layer}/{weight}"
            if place not in members:
                raise KoopscopeError(
                    f"{weight} of {file.filename} is listed but not stored",
                    "the file is incomplete; save it again",
                )
            buffer = re.search(r"/moving_(mean|variance)(:0)?$", weight)
            name = weight.removesuffix(":0")
            shape, dtype = tuple(members[place].shape), tensor_dtype(members[place])
            problem = values_problem(dtype, shape)
            if problem:
                skipped.append(Skipped(weight, problem, unread_weights(weight, shape, dtype)))
            elif name in places:
                skipped.append(Skipped(weight, "a second tensor of this name", math.prod(shape)))
            else:
                must_be_written(Path(file.filename), weight, members[place])
                tensors.append(TensorInfo(name, shape, dtype, "buffer" if buffer else "parameter"))
                places[name] = place
    state = [place for place in members if place.startswith("optimizer_weights/")]
    for place in state:
        if re.search(r"/(iteration|iter|iterations)(:0)?$", place):
            step = _iterations(members[place])
    if state:
        skipped.append(Skipped("optimizer_weights", "state of the optimizer, not a weight"))
    return _Contents(tuple(tensors), places, tuple(skipped), step)


def _iterations(dataset: h5py.h5d.DatasetID) -> int | None:
    """Return the optimizer's count of its own steps."""
    if tuple(dataset.shape) or not isinstance(dataset.get_type(), h5py.h5t.TypeIntegerID):
        return None
    value = np.empty((), np.int64)
    dataset.read(h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5s.create(h5py.h5s.SCALAR), value)
    return int(value)


def _texts(group: h5py.Group, name: str) -> Iterator[str]:
    """Yield a list of texts that Keras may have spread over ``name0``, ``name1``, ..."""
    parts = [name] if safety.has_attribute(group, name) else []
    while name not in parts and safety.has_attribute(group, f"{name}{len(parts)}"):
        parts.append(f"{name}{len(parts)}")
    for part in parts:
        for text in np.ravel(group.attrs[part]):
            yield text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        raise KoopscopeError(
            f"{path} is not a readable .keras archive: {error}", "save or copy the model again"
        ) from None


def _config(archive: zipfile.ZipFile) -> Any:
    try:
        if archive.getinfo("config.json").file_size > _CONFIG_LIMIT:
            return None
        return loaded(archive.read("config.json"))
    except (KeyError, *DAMAGE):
        return None


def _weights_of(path: Path, archive: zipfile.ZipFile) -> h5py.File:
    """Open the HDF5 file inside an archive, in place where it is stored uncompressed."""
    try:
        entry = archive.getinfo(_WEIGHTS)
        stream: IO[bytes] = archive.open(entry)
        if entry.compress_type != zipfile.ZIP_STORED:
            if entry.compress_type != zipfile.ZIP_DEFLATED:
                raise refused(path, _WEIGHTS, "it is packed in a way that Keras does not pack")
            if entry.file_size > max(_SMALL, _RATIO_LIMIT * entry.compress_size):
                raise refused(path, _WEIGHTS, f"it unpacks to {entry.file_size} bytes")
            stream = _unpacked(stream)
    except KeyError:
        raise KoopscopeError(
            f"{path} holds no {_WEIGHTS}", "name an archive that Keras 3 saved"
        ) from None
    except DAMAGE as error:
        raise KoopscopeError(
            f"{_WEIGHTS} of {path} cannot be read: {error}", "save or copy the model again"
        ) from None
    with safety.hdf5_failures(path, _WEIGHTS):
        return h5py.File(stream, "r")


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    unpacked = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115 (h5py closes it)
    shutil.copyfileobj(stream, unpacked, 2**20)
    return unpacked
