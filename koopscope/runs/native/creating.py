"""Create a run file for tensors that are known: its attributes, its datasets, their chunks.

The file appears under its name with its first snapshot, or not at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from koopscope._version import __version__
from koopscope.runs.atomic import drafted
from koopscope.runs.dtypes import STORED_AS
from koopscope.runs.hdf5.transaction import created
from koopscope.runs.native.header import FORMAT, GENERATION, MAJOR, MINOR
from koopscope.runs.native.tensor_plan import TensorPlan
from koopscope.runs.native.writer import SCALAR_CHUNK, RunWriter
from koopscope.runs.run import Skipped

#: Elements of one chunk: a snapshot of a small tensor is one chunk, of a large one several.
CHUNK_ELEMENTS = 262_144


@contextmanager
def create_run(
    path: Path,
    tensors: Sequence[TensorPlan],
    skipped: Sequence[Skipped],
    metadata: Mapping[str, Any],
    *,
    replace: int | None = None,
) -> Iterator[RunWriter]:
    """Create a run file that appears under its name only when its first snapshot is complete.

    Parameters
    ----------
    path
        Its name.
    tensors
        What is recorded.
    skipped
        Names of what is not, and why.
    metadata
        What to say about the run.
    replace
        The generation of a run that is replaced; ``None`` if none may be.

    Raises
    ------
    FileExistsError
        If something has that name by then, unless it is to be replaced.
    """
    with drafted(path, replace=replace is not None) as draft, created(draft) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = _version(tensors)
        file.attrs["creator"] = f"koopscope {__version__}"
        file.attrs["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        if replace is not None:
            file.attrs[GENERATION] = replace + 1
        file.attrs["metadata"] = json.dumps(_jsonable(metadata))
        file.attrs["skipped"] = json.dumps(
            [
                {"name": left.name, "reason": left.reason}
                | ({} if left.weights is None else {"weights": left.weights})
                for left in skipped
            ]
        )
        file.create_dataset("step", (0,), np.int64, maxshape=(None,), chunks=(SCALAR_CHUNK,))
        weights = file.create_group("weights", track_order=True)
        file.create_group("metrics", track_order=True)
        for plan in tensors:
            _create_tensor(weights, plan)
        yield RunWriter(file)


def chunk_shape(shape: tuple[int, ...], elements: int = CHUNK_ELEMENTS) -> tuple[int, ...]:
    """Return the chunk of one snapshot: whole trailing axes, then even parts of what is left."""
    chunk: list[int] = []
    for size in reversed(shape):
        parts = math.ceil(size / max(1, elements))
        chunk.append(math.ceil(size / parts))
        elements //= chunk[-1]
    return tuple(reversed(chunk))


def _create_tensor(weights: h5py.Group, plan: TensorPlan) -> None:
    *groups, name = plan.name.split("/")
    for part in groups:
        weights = weights[part] if part in weights else weights.create_group(part, track_order=True)
    dataset = weights.create_dataset(
        name,
        (0, *plan.shape),
        STORED_AS[plan.dtype],
        maxshape=(None, *plan.shape),
        chunks=(1, *chunk_shape(plan.shape)),
    )
    if plan.kind != "parameter":
        dataset.attrs["kind"] = plan.kind
    if plan.dtype == "bfloat16":
        dataset.attrs["dtype"] = "bfloat16"


def _version(tensors: Sequence[TensorPlan]) -> str:
    """Return the lowest version that has what the file holds: complex tensors came with 1.1."""
    has_complex = any(plan.dtype.startswith("complex") for plan in tensors)
    return f"{MAJOR}.{MINOR}" if has_complex else f"{MAJOR}.0"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
