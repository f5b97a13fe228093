"""Gives the weights of one recorded snapshot back, as a file or as arrays: ``koopscope.restore``.

Reads the run block by block and changes no number; holds no whole tensor when it writes a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics.statistics.keeping import best_snapshot, last_healthy
from koopscope.engine.source import ProgressListener
from koopscope.errors import KoopscopeError
from koopscope.export.weights import WeightPart, gathered, write_weights
from koopscope.runs.checkpoints.series import SnapshotRun
from koopscope.runs.detect.opening import open_run
from koopscope.runs.names import VALIDATION_LOSSES, TensorFilter
from koopscope.runs.run import BLOCK_BYTES, Run, TensorInfo, select_tensors

#: Which snapshot: its step, or how to choose it.
At = int | Literal["best", "healthy"]

#: Steps near the one asked for that an error names.
_NEAREST = 2


@dataclass(frozen=True)
class Choice:
    """Which snapshot it is.

    Attributes
    ----------
    index, step
        The snapshot, counted from 0, and its step.
    reason
        Why this one, in a sentence or two.
    """

    index: int
    step: int
    reason: str


@dataclass(frozen=True)
class Restored:
    """The weights of one snapshot.

    Attributes
    ----------
    step
        The step they were recorded at.
    reason
        Why this step, in a sentence or two.
    missing
        What the network has and the run does not, such as counters: keep the network's own.
    weights
        Array by the tensor's own name, in its own shape and dtype (bfloat16 as float32, which holds
        its numbers); empty where they went to a file.
    """

    step: int
    reason: str
    missing: tuple[str, ...] = ()
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def restore(
    run: str | os.PathLike[str],
    at: At,
    output: str | os.PathLike[str] | None = None,
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    metric: str | None = None,
    key: str | None = None,
    force: bool = False,
) -> Restored:
    """Give back the weights of one snapshot of a recorded run: what ``koopscope restore`` does.

    Parameters
    ----------
    run
        A run file, or anything else that ``koopscope.open_run`` opens.
    at
        A recorded step; ``"best"``, the best validation metric; or ``"healthy"``, the last snapshot
        before NaN, a spike or a divergence that the run did not recover from.
    output
        A file to write them to: ``.safetensors``, ``.npz``, ``.h5``, or ``.pt``, a state dict of
        PyTorch. Without one they are returned.
    include, exclude
        Globs on tensor names; a single one need not be in a list.
    metric
        Which metric says what is best, as ``NAME:min`` or ``NAME:max``; guessed by default.
    key
        See ``koopscope.open_run``.
    force
        Replace an existing file, unless it belongs to the run.

    Raises
    ------
    KoopscopeError
        If the step was not recorded, nothing tells which is best or healthy, or the file cannot be
        written.
    """
    wanted = TensorFilter(_globs(include), _globs(exclude))
    with open_run(run, key=key, weights_for="restoring") as opened:
        tensors = select_tensors(opened.description, wanted.include, wanted.exclude)
        choice = choose(opened, at, wanted, metric)
        if output is not None:
            return write_snapshot(opened, choice, output, wanted, force=force)
        weights = gathered(opened, tensors, _values(opened, choice.index, tensors))
        return Restored(choice.step, choice.reason, _missing(opened), weights)


def _globs(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def choose(
    run: Run,
    at: At,
    wanted: TensorFilter | None = None,
    metric: str | None = None,
    on_progress: ProgressListener | None = None,
) -> Choice:
    """Return the snapshot that ``at`` names; ``healthy`` alone reads the weights.

    Raises
    ------
    KoopscopeError
        If the step was not recorded, or nothing tells which is best or healthy.
    """
    description = run.description
    if not description.snapshots:
        raise KoopscopeError(
            f"{description.path} holds no snapshot",
            "record at least one with Recorder.snapshot()",
        )
    if at == "best":
        return _best(run, metric)
    if at == "healthy":
        return _healthy(run, wanted or TensorFilter(), on_progress)
    if not isinstance(at, (int, np.integer)) or isinstance(at, bool):
        raise KoopscopeError(f"{at!r} names no snapshot", "give a step, best or healthy")
    found = np.flatnonzero(description.steps == at)
    if not len(found):
        near = description.steps[np.argsort(np.abs(description.steps - at), kind="stable")]
        named = " and ".join(str(step) for step in sorted(near[:_NEAREST].tolist()))
        raise KoopscopeError(
            f"step {at} was not recorded in {description.path}", f"the nearest are {named}"
        )
    return Choice(int(found[0]), int(at), f"Step {at}, as asked for.")


def _best(run: Run, metric: str | None) -> Choice:
    description = run.description
    best = best_snapshot(description, metric)
    if best is None:
        others = ", ".join(description.metrics) or "none"
        raise KoopscopeError(
            f"{description.path} holds no validation loss, so nothing tells which weights are best",
            f"record one as {VALIDATION_LOSSES[0]}, name a log of it with --metrics FILE, or say "
            f"what counts with --metric NAME:min; recorded are: {others}",
        )
    name = best.choice.name
    guessed = "" if metric else f" {name} counts by its name; --metric says another."
    return Choice(best.index, best.step, f"Step {best.step} has {best.words}.{guessed}")


def _healthy(run: Run, wanted: TensorFilter, on_progress: ProgressListener | None) -> Choice:
    settings = Settings(method="exact", include=wanted.include, exclude=wanted.exclude)
    healthy = last_healthy(Analysis.of(run, settings, on_progress))
    if healthy is None:
        raise KoopscopeError(
            f"no snapshot of {run.description.path} has finite weights throughout",
            "leave out what is never finite with --exclude; `koopscope analyze` names it",
        )
    if healthy.trouble:
        reason = f"Step {healthy.step} is the last one before the trouble: {healthy.trouble}."
    else:
        reason = f"Step {healthy.step} is the last one, and no trouble is in sight."
    return Choice(healthy.index, healthy.step, reason)


def write_snapshot(
    run: Run,
    choice: Choice,
    path: str | os.PathLike[str],
    wanted: TensorFilter | None = None,
    *,
    force: bool = False,
) -> Restored:
    """Write the weights of one snapshot, every tensor in the run's own dtype.

    Raises
    ------
    KoopscopeError
        If the file cannot be written; nothing is left behind.
    """
    description = run.description
    wanted = wanted or TensorFilter()
    chosen = select_tensors(description, wanted.include, wanted.exclude)
    facts = {"step": str(choice.step), "reason": choice.reason}
    parts = _values(run, choice.index, chosen)
    write_weights(run, chosen, parts, path, facts, force=force)
    return Restored(choice.step, choice.reason, _missing(run))


def _values(run: Run, index: int, tensors: Sequence[TensorInfo]) -> Iterator[WeightPart]:
    """Yield the flattened weights of one snapshot, part by part; the next part reuses the buffer.

    Of checkpoints only the one file is read; of a run file all, because it lies there by tensors.
    """
    if not isinstance(run, SnapshotRun):
        for block in run.blocks(tensors):
            yield block.tensor, block.values[index]
        return
    for tensor in tensors:
        dtype = run.read_dtype(tensor)
        for start, stop in run.cuts(tensor, max(1, BLOCK_BYTES // dtype.itemsize)):
            values = np.empty(stop - start, dtype)
            run.read_snapshot(index, tensor, start, stop, values)
            yield tensor, values


def _missing(run: Run) -> tuple[str, ...]:
    return tuple(skipped.name for skipped in run.description.skipped)
