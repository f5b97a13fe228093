"""A fitted ``koopscope.DMD`` on disk: an HDF5 file without code in it.

Holds what was asked, what was found and the modes, not the data. The file is untrusted when read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.estimator.decomposition import Decomposition, FitResult
from koopscope.estimator.fitting import Operator
from koopscope.estimator.options import Options, checked_options
from koopscope.estimator.timeline import Timeline
from koopscope.runs.atomic import drafted
from koopscope.runs.hdf5 import safety

FORMAT = "koopscope-dmd"
VERSION = "1.0"

#: Arrays besides the modes, with their kinds (c complex, f float, b bool) and axes.
_OPERATOR = {
    "as_numpy_array": ("fc", 2),
    "eigenvalues": ("c", 1),
    "eigenvectors": ("c", 2),
    "singular_values": ("f", 1),
    "inverse": ("fc", 2),
    "weights": ("c", 2),
}
_OTHERS = {"amplitudes": ("c", 1), "active": ("b", 1), "modes": ("c", 2)}

_HINT = "name a file that DMD.save wrote"


def save_dmd(dmd: Decomposition, path: str | os.PathLike[str]) -> None:
    """Write a fitted DMD, its modes block by block; the file appears complete or not at all.

    Raises
    ------
    KoopscopeError
        If it was not fitted, or the file cannot be written there.
    """
    target, result = Path(path), dmd.result
    options = dict(vars(dmd.options))
    if isinstance(options["rescale_mode"], np.ndarray):
        options["rescale_mode"] = options["rescale_mode"].tolist()
    every = type(dmd).restored(dmd.options, replace(result, active=np.ones_like(result.active)))
    try:
        with drafted(target) as draft, h5py.File(draft, "w", locking=False) as file:
            file.attrs["format"], file.attrs["format_version"] = FORMAT, VERSION
            file.attrs["options"] = json.dumps(options)
            file.attrs["times"] = json.dumps([result.original_time, result.dmd_time])
            for name in _OPERATOR:
                file[name] = getattr(result.operator, name)
            file["amplitudes"], file["active"] = result.amplitudes, result.active
            shape = (dmd.features, len(result.active))
            modes = file.create_dataset("modes", shape, np.complex128)
            for start, rows in every.mode_blocks():
                if rows.size:
                    modes[start : start + len(rows)] = rows
    except OSError as error:
        raise KoopscopeError(f"{target} cannot be written: {error}", "check the path") from None


def load_dmd(path: str | os.PathLike[str]) -> tuple[Options, FitResult]:
    """Return what was asked and the outcome, as ``save_dmd`` wrote it, modes included.

    Raises
    ------
    KoopscopeError
        If the file is not one that it wrote, or is damaged.
    """
    source = Path(path)
    with safety.open_hdf5(source) as file, safety.hdf5_failures(source):
        root = h5py.h5g.open(file.id, b"/")
        said = {n: safety.text_attribute(root, n) for n in ("format", "format_version")}
        if said["format"] != FORMAT:
            raise KoopscopeError(f"{source} holds no fitted DMD", _HINT)
        version = said["format_version"] or ""
        if version.partition(".")[0] != VERSION.partition(".")[0]:
            raise KoopscopeError(
                f"{source} has format version {version}, newer than {VERSION}", "update koopscope"
            )
        members = dict(safety.members(root))
        arrays = {
            name: _array(source, name, members.get(name), *kinds)
            for name, kinds in (_OPERATOR | _OTHERS).items()
        }
        texts = [safety.text_attribute(root, name) or "" for name in ("options", "times")]
    _must_fit(source, arrays)
    try:
        options = checked_options(**json.loads(texts[0]))
        original, shown = json.loads(texts[1])
        times = Timeline(original), Timeline(shown)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(source, f"what it says of itself is unreadable ({error})") from None
    operator = Operator(**{name: arrays[name] for name in _OPERATOR})
    fit = FitResult(operator, arrays["amplitudes"], arrays["active"], *times, modes=arrays["modes"])
    return options, fit


def _array(path: Path, name: str, member: safety.Member | None, kinds: str, axes: int) -> Any:
    if not isinstance(member, h5py.h5d.DatasetID):
        raise _damaged(path, f"{name} is {getattr(member, 'reason', 'missing')}")
    problem = safety.storage_problem(member)
    if problem:
        raise _damaged(path, f"{name} is {problem}")
    dataset = h5py.Dataset(member)
    if dataset.dtype.kind not in kinds or dataset.ndim != axes:
        raise _damaged(path, f"{name} is {dataset.dtype} of shape {list(dataset.shape)}")
    return dataset[...]


def _must_fit(path: Path, arrays: Mapping[str, Any]) -> None:
    count = len(arrays["eigenvalues"])
    square = (count, count)
    fits = (
        arrays["as_numpy_array"].shape == arrays["eigenvectors"].shape == square
        and arrays["amplitudes"].shape == arrays["active"].shape == (count,)
        and arrays["weights"].shape == square
        and arrays["modes"].shape[1] == arrays["inverse"].shape[1] == count
    )
    if not fits:
        raise _damaged(path, "its arrays do not belong together")


def _damaged(path: Path, why: str) -> KoopscopeError:
    return KoopscopeError(f"{path} holds no whole DMD: {why}", _HINT)
