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

import numpy as np

from koopscope._version import __version__
from koopscope.runs.atomic import drafted
from koopscope.runs.hdf5.transaction import created
from koopscope.runs.native.header import FORMAT, GENERATION, MAJOR
from koopscope.runs.native.sketch_layout import SketchedTensor, create_sketch
from koopscope.runs.native.tensor_datasets import create_tensor
from koopscope.runs.native.tensor_plan import TensorPlan
from koopscope.runs.native.writer import SCALAR_CHUNK, RunWriter
from koopscope.runs.run import Skipped
from koopscope.runs.sketches import SketchInfo


@contextmanager
def create_run(
    path: Path,
    tensors: Sequence[TensorPlan],
    skipped: Sequence[Skipped],
    metadata: Mapping[str, Any],
    *,
    replace: int | None = None,
    sketch: tuple[SketchInfo, Sequence[SketchedTensor]] | None = None,
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
    sketch
        How the tensors are sketched, where their weights are not recorded.

    Raises
    ------
    FileExistsError
        If something has that name by then, unless it is to be replaced.
    """
    with drafted(path, replace=replace is not None) as draft, created(draft) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = _version(tensors, sketch is not None)
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
        if sketch is not None:
            create_sketch(file, *sketch)
        made = {
            plan.name: create_tensor(weights, plan.name, plan.shape, plan.dtype, plan.kind)
            for plan in (tensors if sketch is None else ())
        }
        yield RunWriter(file, made)


def _version(tensors: Sequence[TensorPlan], is_sketch: bool) -> str:
    """Return the lowest version that has what the file holds.

    Complex tensors came with 1.1, sketches with 1.2.
    """
    has_complex = any(plan.dtype.startswith("complex") for plan in tensors)
    return f"{MAJOR}.{2 if is_sketch else 1 if has_complex else 0}"


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
