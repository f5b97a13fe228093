"""Append snapshots of a training run to a run file, one open-append-close at a time.

It must never stop a training run: what the caller did wrong raises, what the world did wrong (a
locked file, a full disk) is warned of and costs one snapshot. And it must never lose a snapshot
that was committed, whenever the process dies.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import StoredArray, as_stored, named_tensors
from koopscope.runs.native.reader import RunFile
from koopscope.runs.native.writer import (
    RunWriter,
    TensorPlan,
    create_run,
    name_problem,
    open_for_appending,
)
from koopscope.runs.run import BUFFER_NAMES

#: Seconds to wait for a lock that another program holds before a snapshot is given up.
LOCK_PATIENCE = 2.0


@dataclass(frozen=True)
class _Row:
    """One snapshot as the caller gave it, checked."""

    step: int
    tensors: dict[str, Any]
    metrics: dict[str, float]


class Recorder:
    """Record a training run, one call per snapshot.

    Parameters
    ----------
    path
        The run file. An existing run file is continued; anything else that exists is refused.
    metadata
        What to say about the run (optimizer, learning rate, seed, ...): any mapping. Values that
        JSON does not know are stored as text. Written when the file is created.
    buffers
        Globs of tensor names that a network keeps but no optimizer trains.
    states
        Globs of tensor names that are iterates of a network operator, such as the hidden states of
        a layer applied again and again; the step counts the iterations. ``["*"]`` for all.
    resume_from
        Drop the snapshots after this step before continuing, for a training run that restarts
        from a checkpoint older than its last snapshot.

    Raises
    ------
    KoopscopeError
        If ``path`` is not a run file, or its directory does not exist.

    Examples
    --------
    >>> with Recorder("run.h5", metadata={"lr": 1e-3}) as recorder:  # doctest: +SKIP
    ...     for step, batch in enumerate(batches):
    ...         loss = train(batch)
    ...         if step % 100 == 0:
    ...             recorder.snapshot(step, model.state_dict(), loss=loss)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        metadata: Mapping[str, Any] | None = None,
        buffers: Iterable[str] = BUFFER_NAMES,
        states: Iterable[str] = (),
        resume_from: int | None = None,
    ) -> None:
        self.path = Path(path)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise KoopscopeError(
                f"metadata must be a mapping, not {type(metadata).__name__}",
                'pass a dictionary, for example metadata={"lr": 1e-3}',
            )
        self._metadata = metadata or {}
        self._kinds = {"state": tuple(states), "buffer": tuple(buffers)}
        self._warned: set[str] = set()
        if not self.path.parent.is_dir():
            raise KoopscopeError(
                f"{self.path} cannot be recorded: {self.path.parent} is not a directory",
                "create the directory first",
            )
        if self.path.exists():
            self._continue_run(resume_from)

    def snapshot(self, step: int, tensors: Mapping[Any, Any], **metrics: Any) -> bool:
        """Append one snapshot and return whether it was written.

        Parameters
        ----------
        step
            Optimizer step, larger than that of the snapshot before.
        tensors
            Names to arrays or tensors of any framework; nested mappings are joined with ``/``.
            The first snapshot decides which tensors are recorded, and their shapes.
        metrics
            Numbers that describe the moment: ``loss=0.3, val_loss=0.4``. ``None`` is none given.

        Raises
        ------
        KoopscopeError
            For a wrong call only: a step that does not increase, tensors that are no mapping or
            hold no tensor of floats, a metric that is no number.
        """
        return self.snapshots([(step, tensors, metrics)])

    def snapshots(self, batch: Sequence[tuple[int, Mapping[Any, Any], Mapping[str, Any]]]) -> bool:
        """Append several snapshots in one change of the file: for small networks, far cheaper.

        Parameters
        ----------
        batch
            (step, tensors, metrics) of each, as in ``snapshot``. All of them are written or none.

        Raises
        ------
        KoopscopeError
            As in ``snapshot``.
        """
        rows = [
            _Row(_checked_step(step), _checked_tensors(tensors), _checked_metrics(metrics))
            for step, tensors, metrics in batch
        ]
        try:
            begun = not self.path.exists() and bool(rows)
            if begun:
                self._create(rows[0])
            if rows[begun:]:
                self._append(rows[begun:])
        except KoopscopeError:
            raise
        except Exception as error:  # whatever the disk or HDF5 does must not end the training
            self._warn(
                f"snapshot at step {rows[0].step} was not recorded in {self.path}: "
                f"{_one_line(error)}",
                cause=f"{type(error).__name__} {getattr(error, 'errno', '')}",
            )
            return False
        return True

    def close(self) -> None:
        """Do nothing: every snapshot is on disk when ``snapshot`` returns."""

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _continue_run(self, resume_from: int | None) -> None:
        RunFile(self.path).close()
        with open_for_appending(self.path, LOCK_PATIENCE) as writer:
            if resume_from is not None:
                writer.discard_after(_checked_step(resume_from))

    def _create(self, row: _Row) -> None:
        plan: dict[str, TensorPlan] = {}
        skipped: dict[str, str] = {}
        for name, value in row.tensors.items():
            stored = as_stored(value)
            problem = stored if isinstance(stored, str) else name_problem(name, plan)
            if isinstance(stored, str) or problem:
                skipped[name] = problem
            else:
                plan[name] = TensorPlan.of(name, stored, self._kinds)
        if not plan:
            raise KoopscopeError(
                f"none of the {len(row.tensors)} values given is a tensor of floats",
                f"first of them: {_example(skipped)}" if skipped else "pass the model's weights",
            )
        with create_run(self.path, [*plan.values()], skipped, self._metadata) as writer:
            self._write(writer, [row])
        if skipped:
            listed = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:5])
            more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
            self._warn(f"not recorded in {self.path}: {listed}{more}", cause="skipped")

    def _append(self, rows: Sequence[_Row]) -> None:
        with open_for_appending(self.path, LOCK_PATIENCE) as writer:
            last = writer.last_step
            for row in rows:
                if last is not None and row.step <= last:
                    raise KoopscopeError(
                        f"step {row.step} does not come after step {last}, the last one in "
                        f"{self.path}",
                        "delete the file to record anew, or pass resume_from=STEP to go back to "
                        "STEP",
                    )
                last = row.step
            self._write(writer, rows)

    def _write(self, writer: RunWriter, rows: Sequence[_Row]) -> None:
        written = 0
        for plan in writer.tensors():
            stored = [self._fitting(plan, row.tensors) for row in rows]
            words = [each.words for each in stored if each is not None]
            if len(words) == len(rows):
                writer.write_rows(plan.name, np.stack(words) if len(words) > 1 else words[0][None])
                written += 1
        if not written:
            raise KoopscopeError(
                f"the snapshot at step {rows[0].step} holds none of the tensors recorded in "
                f"{self.path}",
                "record another model in another file",
            )
        for name in {name for row in rows for name in row.tensors} - writer.known_names():
            self._warn(
                f"{name} was not in the first snapshot and is not recorded in {self.path}",
                cause=name,
            )
        for name in dict.fromkeys(name for row in rows for name in row.metrics):
            values = (row.metrics.get(name, math.nan) for row in rows)
            problem = writer.write_metric(name, *values)
            if problem:
                self._warn(f"metric {name!r} is {problem}: {self.path} lacks it", cause=name)
        writer.commit(*(row.step for row in rows))

    def _fitting(self, plan: TensorPlan, named: dict[str, Any]) -> StoredArray | None:
        """Return the tensor as its dataset wants it, or warn that its record ends here."""
        if plan.name not in named:
            problem = "is missing"
        else:
            stored = as_stored(named[plan.name])
            if isinstance(stored, str):
                problem = f"is {stored}"
            elif stored.words.shape != plan.shape:
                problem = f"has shape {list(stored.words.shape)} instead of {list(plan.shape)}"
            else:
                return stored.cast(plan.dtype)
        self._warn(
            f"{plan.name} {problem}: it is not recorded in {self.path} any more", cause=plan.name
        )
        return None

    def _warn(self, message: str, cause: str) -> None:
        if cause not in self._warned:
            self._warned.add(cause)
            warnings.warn(message, RuntimeWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the ``stacklevel`` at which a warning names the training loop, not this package."""
    here = str(Path(__file__).parents[1])
    level, frame = 0, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        level, frame = level + 1, frame.f_back
    return level + 1


def _checked_step(step: Any) -> int:
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise KoopscopeError(
            f"step must be a whole number, not {step!r}", "pass the number of the optimizer step"
        )
    number = int(step.__index__())
    if not -(2**63) <= number < 2**63:
        raise KoopscopeError(f"step {number} does not fit 64 bits", "count optimizer steps")
    return number


def _checked_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    checked: dict[str, float] = {}
    for name, value in metrics.items():
        if value is None:
            continue
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            checked[name] = float(value.detach() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise KoopscopeError(
                f"metric {name} must be one number, not {type(value).__name__}",
                f"pass a number, for example {name}=float({name})",
            ) from None
    return checked


def _checked_tensors(tensors: Any) -> dict[str, Any]:
    if not isinstance(tensors, Mapping):
        raise KoopscopeError(
            f"tensors must be a mapping of names to tensors, not {type(tensors).__name__}",
            "pass model.state_dict(), or a dictionary",
        )
    named: dict[str, Any] = {}
    for name, value in named_tensors(tensors):
        if name in named:
            raise KoopscopeError(
                f"two tensors are called {name}", "give each tensor a name of its own"
            )
        named[name] = value
    return named


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _example(skipped: Mapping[str, str]) -> str:
    name, reason = next(iter(skipped.items()))
    return f"{name} is {reason}"
