"""Copy a run that some other program stored into a run file, snapshot by snapshot.

An interrupted copy is continued from its last snapshot. Never holds more than a few MiB of weights,
and never leaves a half-made file under the name that was asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.claims import sole_writer
from koopscope.runs.detect.opening import ForeignRun
from koopscope.runs.dtypes import StoredArray
from koopscope.runs.hdf5.slabs import aligned_ranges
from koopscope.runs.native.creating import create_run
from koopscope.runs.native.reader import RunFile
from koopscope.runs.native.storable import StorableNames
from koopscope.runs.native.tensor_datasets import chunk_shape
from koopscope.runs.native.tensor_plan import TensorPlan
from koopscope.runs.native.writer import RunWriter, open_for_appending
from koopscope.runs.run import FloatArray, TensorInfo

#: Weights copied at once.
PART = 2**20

_LOCK_PATIENCE = 2.0


def convert(
    run: ForeignRun,
    output: Path,
    *,
    tensors: Sequence[TensorInfo],
    metrics: Mapping[str, npt.NDArray[np.float64]],
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Write a run file with the snapshots of ``run``; return how many had been copied before.

    The copy grows in ``<output>.partial``, which is renamed when it is complete. If it is there
    already, made from the same sources, it is continued; otherwise it is started again.

    Parameters
    ----------
    run
        What to copy.
    output
        The run file; replaced if it exists.
    tensors
        Of the run, those to copy.
    metrics
        Values per snapshot to store besides the run's own, float64 [T] each.
    on_progress
        Called with the number of bytes that have just been copied.

    Raises
    ------
    KoopscopeError
        If a source cannot be read, a name cannot be stored, or another process writes the output.
    OSError
        If the file cannot be written.
    """
    output = Path(os.path.realpath(output))
    with sole_writer(output):
        return _convert(run, output, tensors, metrics, on_progress)


def _convert(
    run: ForeignRun,
    output: Path,
    tensors: Sequence[TensorInfo],
    metrics: Mapping[str, npt.NDArray[np.float64]],
    on_progress: Callable[[int], None] | None,
) -> int:
    description = run.description
    partial = output.with_name(f"{output.name}.partial")
    identity = _identity(run, tensors, metrics)
    done = _copied(partial, identity)
    if done is None:
        partial.unlink(missing_ok=True)
        metadata = {
            **description.metadata,
            "converted_from": description.format,
            "conversion": identity,
        }
        with create_run(
            partial, plans_of(description.path, tensors), description.skipped, metadata
        ):
            done = 0
    values = {**description.metrics, **metrics}
    for index in range(done, description.snapshots):
        with open_for_appending(partial, _LOCK_PATIENCE) as writer:
            copy_snapshot(run, index, tensors, writer, on_progress)
            for name, column in values.items():
                writer.write_metric(name, float(column[index]))
            writer.commit(int(description.steps[index]))
        run.release(index)
    os.replace(partial, output)
    return done


def copy_snapshot(
    run: ForeignRun,
    index: int,
    tensors: Sequence[TensorInfo],
    writer: RunWriter,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Write the weights of one snapshot, a part at a time; it still has to be committed."""
    buffers: dict[np.dtype[Any], FloatArray] = {}  # memory that was used costs no page faults
    for tensor in tensors:
        dtype = run.read_dtype(tensor)
        for start, stop in aligned_ranges(tensor.shape, chunk_shape(tensor.shape), PART):
            if dtype not in buffers or buffers[dtype].size < stop - start:
                buffers[dtype] = np.empty(stop - start, dtype)
            part = buffers[dtype][: stop - start]
            run.read_snapshot(index, tensor, start, stop, part)
            writer.write_part(tensor.name, start, StoredArray(dtype.name, part).cast(tensor.dtype))
            if on_progress is not None:
                on_progress(part.nbytes)


def plans_of(path: str, tensors: Sequence[TensorInfo]) -> list[TensorPlan]:
    """Return what a run file is made for.

    Raises
    ------
    KoopscopeError
        If a name cannot be stored.
    """
    plans: list[TensorPlan] = []
    taken = StorableNames()
    for tensor in tensors:
        problem = taken.problem(tensor.name)
        if problem:
            raise KoopscopeError(f"{tensor.name} of {path} is {problem}", "leave it out: --exclude")
        taken.add(tensor.name)
        plans.append(TensorPlan(tensor.name, tensor.shape, tensor.dtype, tensor.kind))
    return plans


def _copied(partial: Path, identity: str) -> int | None:
    """Return how many snapshots an earlier attempt copied, ``None`` without such an attempt."""
    if partial.is_symlink() or not partial.exists():
        return None
    try:
        with RunFile(partial) as run:
            same = run.description.metadata.get("conversion") == identity
            return run.description.snapshots if same else None
    except KoopscopeError:
        return None


def _identity(
    run: ForeignRun,
    tensors: Sequence[TensorInfo],
    metrics: Mapping[str, npt.NDArray[np.float64]],
) -> str:
    """Return a digest of what is copied, so that only the same copy is continued."""
    facts: list[Any] = [run.description.steps.tolist()]
    facts += [[tensor.name, tensor.shape, tensor.dtype, tensor.kind] for tensor in tensors]
    facts += [[name, column.tolist()] for name, column in metrics.items()]
    for path in run.paths:
        status = os.stat(path)
        facts.append([Path(path).name, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
