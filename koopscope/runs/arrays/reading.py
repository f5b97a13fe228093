"""Every array of a checkpoint as it is stored, for whoever copies it changed.

Unlike a run, a source also holds what is not trained (counters, steps) and gives words, not
numbers: bfloat16 stays bfloat16. Holds only as much of an array as its format demands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.npz import members_of, read_member
from koopscope.runs.checkpoints.safetensors import HeaderEntry, stored_tensors
from koopscope.runs.checkpoints.series import CheckpointSeries
from koopscope.runs.detect.opening import open_run
from koopscope.runs.detect.sources import look_at, snapshots_of
from koopscope.runs.dtypes import StoredArray
from koopscope.runs.run import Run, Skipped, TensorInfo

Words = npt.NDArray[Any]

#: Elements of an array handed over at once.
_CHUNK = 1 << 20

_SAFETENSORS = {
    "BOOL": "bool",
    **{f"{sign}{bits}": f"{kind}{bits}" for sign, kind in (("U", "uint"), ("I", "int"))
       for bits in (8, 16, 32, 64)},
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float32": "float32",
    "float64": "float64",
    "complex64": "complex64",
}  # fmt: skip


@dataclass(frozen=True)
class SourceArray:
    """One array: its name and kind, and its flattened words from start to end, part by part."""

    name: str
    spec: ArraySpec
    parts: Callable[[], Iterator[Words]]


@dataclass(frozen=True)
class ArraySource:
    """What a checkpoint holds, in its own order.

    Attributes
    ----------
    arrays
        Everything that can be copied.
    metadata
        Strings that travel with the file.
    left_out
        What cannot, and why.
    """

    path: str
    arrays: tuple[SourceArray, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[Skipped, ...] = ()


@contextmanager
def array_source(path: str | os.PathLike[str]) -> Iterator[ArraySource]:
    """Open a ``.safetensors`` or ``.npz`` file; or a run, of which it is the last snapshot.

    Of other kinds of checkpoints that koopscope reads it is the weights.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or holds an array of a kind that cannot be copied.
    """
    target = Path(path)
    if not target.exists():
        raise KoopscopeError(f"{target} does not exist", "check the path")
    if target.suffix == ".safetensors":
        tensors, metadata = stored_tensors(target)
        yield ArraySource(str(path), tuple(_safetensor(target, t) for t in tensors), metadata)
    elif target.suffix == ".npz":
        yield _npz(target)
    else:
        with _run(target) as run:
            arrays = tuple(_last_snapshot(run, tensor) for tensor in run.description.tensors)
            yield ArraySource(str(path), arrays, left_out=run.description.skipped)


def _run(path: Path) -> Run:
    """Open a run, or a file with one snapshot as a run of that one."""
    look = look_at(path)
    return CheckpointSeries(snapshots_of([look])) if look.holds_one_snapshot else open_run(look)


def _safetensor(path: Path, tensor: HeaderEntry) -> SourceArray:
    if tensor.dtype not in _SAFETENSORS:
        raise KoopscopeError(
            f"{tensor.name} of {path} holds {tensor.dtype} values, which cannot be copied",
            "apply masks in the framework instead: docs/guide/pruning.md",
        )
    spec = ArraySpec(tensor.shape, _SAFETENSORS[tensor.dtype])

    def parts() -> Iterator[Words]:
        if spec.size:
            # Copies, not a map: a file that is cut while it is mapped kills the process.
            with path.open("rb") as file:
                file.seek(tensor.start)
                for start in range(0, spec.size, _CHUNK):
                    wanted = min(_CHUNK, spec.size - start) * spec.words.itemsize
                    raw = file.read(wanted)
                    if len(raw) < wanted:
                        raise KoopscopeError(
                            f"{path} ends inside {tensor.name}", "save or copy the file again"
                        )
                    yield np.frombuffer(raw, spec.words)

    return SourceArray(tensor.name, spec, parts)


def _npz(path: Path) -> ArraySource:
    arrays: list[SourceArray] = []
    said: dict[str, str] = {}
    for member in members_of(path):
        if member.name == "__metadata__" and member.dtype.kind == "U":
            said = _strings(str(read_member(path, member).reshape(-1)[0]))
            continue
        if member.dtype.kind not in "biufc":
            raise KoopscopeError(
                f"{member.name} of {path} holds {member.dtype} values, which cannot be copied",
                "save the weights without it",
            )
        read = partial(read_member, path, member)
        arrays.append(
            SourceArray(
                member.name,
                ArraySpec(member.shape, member.dtype.name),
                lambda read=read: iter((read().reshape(-1),)),  # type: ignore[misc]
            )
        )
    words = _strings(said.pop("dtypes", "{}"))
    return ArraySource(
        str(path),
        tuple(
            SourceArray(a.name, ArraySpec(a.spec.shape, words.get(a.name, a.spec.dtype)), a.parts)
            for a in arrays
        ),
        said,
    )


def _strings(text: str) -> dict[str, str]:
    try:
        parsed = loaded(text)
    except ValueError:
        return {}
    if not isinstance(parsed, dict):
        return {}
    return {str(key): value for key, value in parsed.items() if isinstance(value, str)}


def _last_snapshot(run: Run, tensor: TensorInfo) -> SourceArray:
    def parts() -> Iterator[Words]:
        for block in run.blocks([tensor]):
            row = block.values[-1]
            if tensor.dtype == "bfloat16":
                yield StoredArray("float32", row).cast("bfloat16").words
            else:
                yield row

    return SourceArray(tensor.name, ArraySpec(tensor.shape, tensor.dtype), parts)
