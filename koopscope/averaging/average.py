"""Averages the last snapshots of a run, as a file or as arrays: ``koopscope.average``.

Reads the run block by block, adds in double precision and writes in the run's own dtypes; holds no
whole tensor when it writes a file.
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
from koopscope.diagnostics.statistics.averaging import FEWEST, AverageOutlook, outlook
from koopscope.engine.source import ProgressListener
from koopscope.errors import KoopscopeError
from koopscope.export.weights import WeightPart, gathered, write_weights
from koopscope.runs.detect.opening import open_run
from koopscope.runs.names import TensorFilter
from koopscope.runs.run import Run, TensorInfo, select_tensors

#: How the snapshots are weighed: all the same, or each earlier one less.
Weighing = Literal["uniform", "ema"]

#: What a snapshot weighs relative to the one after it, for ``ema``.
DECAY = 0.8


@dataclass(frozen=True)
class Average:
    """The average of some snapshots.

    Attributes
    ----------
    first_step, last_step, count
        The snapshots that were averaged.
    weighing
        How they were weighed.
    outlook
        Whether it is likely to help, from the weights; ``None`` where that cannot be told.
    running
        Names of the running statistics in the average: renew them on training data.
    missing
        What the network has and the run does not, such as counters: keep the network's own.
    weights
        Array by the tensor's own name, in its own shape and dtype (bfloat16 as float32, which holds
        its numbers); empty where they went to a file.
    """

    first_step: int
    last_step: int
    count: int
    weighing: Weighing
    outlook: AverageOutlook | None
    running: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class AverageChoice:
    """Which snapshots are averaged, and what each weighs.

    Attributes
    ----------
    first, stop
        Snapshots of the run, counted from 0; ``stop`` is the one after the last.
    shares
        float64 [stop - first], adding up to 1.
    weighing, outlook
        As in ``Average``.
    """

    first: int
    stop: int
    shares: npt.NDArray[np.float64]
    weighing: Weighing
    outlook: AverageOutlook | None


def average(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    last: int | None = None,
    until: int | None = None,
    weighing: Weighing = "uniform",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    key: str | None = None,
    force: bool = False,
) -> Average:
    """Average the last snapshots of a recorded run: what ``koopscope average`` does.

    Parameters
    ----------
    run
        A run file, or anything else that ``koopscope.open_run`` opens.
    output
        A file to write the average to: ``.safetensors``, ``.npz``, ``.h5``, or ``.pt``, a state
        dict of PyTorch. Without one it is returned.
    last
        How many snapshots; chosen by how the weights move where it is ``None``.
    until
        Step of the last snapshot to take; the run's last one by default.
    weighing
        ``uniform``, or ``ema``: each snapshot 0.8 times as much as the one after it.
    include, exclude
        Globs on tensor names; a single one need not be in a list.
    key
        See ``koopscope.open_run``.
    force
        Replace an existing file, unless it belongs to the run.

    Raises
    ------
    KoopscopeError
        If the run has fewer snapshots, some of them are not finite, or the file cannot be written.
    """
    wanted = TensorFilter(_globs(include), _globs(exclude))
    with open_run(run, key=key, weights_for="averaging") as opened:
        choice = choose(opened, last, until, weighing, wanted)
        if output is not None:
            return write_average(opened, choice, output, wanted, force=force)
        tensors = select_tensors(opened.description, wanted.include, wanted.exclude)
        weights = gathered(opened, tensors, _means(opened, choice, tensors))
        return _said(opened, choice, tensors, weights)


def _globs(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def choose(
    run: Run,
    last: int | None = None,
    until: int | None = None,
    weighing: Weighing = "uniform",
    wanted: TensorFilter | None = None,
    on_progress: ProgressListener | None = None,
) -> AverageChoice:
    """Return which snapshots to average; reads the weights once to tell whether that helps.

    Raises
    ------
    KoopscopeError
        If there are fewer snapshots than asked for, or two of them are not finite throughout.
    """
    description = run.description
    wanted = wanted or TensorFilter()
    settings = Settings(method="exact", until=until, include=wanted.include, exclude=wanted.exclude)
    if last is not None and last < 2:
        raise KoopscopeError(
            f"an average of {last} snapshots is none", "average two or more, with --last"
        )
    analysis = Analysis.of(run, settings, on_progress)
    window = analysis.window
    if analysis.breaks_off:
        step = int(description.steps[window.stop - 1])
        raise KoopscopeError(
            f"the weights are NaN or infinite after step {step}",
            f"average what came before: --until {step}",
        )
    seen = outlook(analysis)
    count = last if last is not None else seen.count if seen is not None else FEWEST
    if count > window.snapshots:
        raise KoopscopeError(
            f"{description.path} has {window.snapshots} snapshots to average, not {count}",
            f"ask for --last {window.snapshots} or fewer" if window.snapshots > 1 else None,
        )
    shares = np.full(count, 1.0)
    if weighing == "ema":
        shares = DECAY ** np.arange(count - 1, -1, -1.0)
    return AverageChoice(window.stop - count, window.stop, shares / shares.sum(), weighing, seen)


def write_average(
    run: Run,
    choice: AverageChoice,
    path: str | os.PathLike[str],
    wanted: TensorFilter | None = None,
    *,
    force: bool = False,
) -> Average:
    """Write the average, every tensor in the run's own dtype.

    Raises
    ------
    KoopscopeError
        If the file cannot be written; nothing is left behind.
    """
    description = run.description
    wanted = wanted or TensorFilter()
    chosen = select_tensors(description, wanted.include, wanted.exclude)
    said = _said(run, choice, chosen)
    facts = {
        "first_step": str(said.first_step),
        "last_step": str(said.last_step),
        "count": str(said.count),
        "weighing": said.weighing,
    }

    write_weights(run, chosen, _means(run, choice, chosen), path, facts, force=force)
    return said


def _means(run: Run, choice: AverageChoice, tensors: Sequence[TensorInfo]) -> Iterator[WeightPart]:
    """Yield the flattened averages, part by part, in double precision.

    They are added to the first of the snapshots as differences, so that what does not move stays
    what it is to the last bit.
    """
    for block in run.blocks(tensors):
        rows = block.values[choice.first : choice.stop]
        dtype = np.result_type(rows.dtype, np.float64)
        base = rows[0].astype(dtype)
        yield block.tensor, base + choice.shares @ (rows - base)


def _said(
    run: Run,
    choice: AverageChoice,
    tensors: Sequence[TensorInfo],
    weights: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Average:
    steps = run.description.steps
    return Average(
        first_step=int(steps[choice.first]),
        last_step=int(steps[choice.stop - 1]),
        count=choice.stop - choice.first,
        weighing=choice.weighing,
        outlook=choice.outlook,
        running=tuple(tensor.name for tensor in tensors if tensor.kind == "buffer"),
        missing=tuple(skipped.name for skipped in run.description.skipped),
        weights=weights or {},
    )
