"""Decides when a training loop takes a snapshot, who writes it, and when to stop.

What the callbacks of all frameworks share, and what a plain loop uses directly. No error of it ends
a training: what the caller did wrong is said before the first step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koopscope.errors import KoopscopeError
from koopscope.integrations.rank_sketches import RankSketches
from koopscope.integrations.tensors import (
    TensorSelection,
    agreed,
    current_rank,
    local_parts,
    rank_count,
    spread_over_ranks,
)
from koopscope.runs.native.buffer import SnapshotBuffer
from koopscope.runs.native.places import MODES
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.native.sketch_recording import sketch_recording

if TYPE_CHECKING:
    from koopscope.integrations.acting import FindingWatch, Reaction
    from koopscope.integrations.stopping import ConvergenceWatch


class Tracker:
    """Record a run from a training loop, and tell when its weights have settled.

    Parameters
    ----------
    path
        The run file. What is there already is kept: see ``mode``.
    every_n_steps, every_n_epochs
        Take a snapshot after every so many optimizer steps, or epochs. Give one of them; every
        epoch if neither is given.
    include, exclude
        Globs: record the tensors matched by any of ``include`` (all, if none), and by none of
        ``exclude``.
    metadata
        What to say about the run: see ``koopscope.Recorder``.
    shards
        Every rank records its own part, in ``run.rank0.h5``, ``run.rank1.h5``, ...; otherwise
        rank 0 records everything.
    write_every_seconds
        Snapshots are copied and written together, at most this often and seldom enough for
        writing to take under 0.5% of the time; a killed process loses those not yet written. More
        than 16 MiB are not kept back, and 0 writes each snapshot at once.
    stop_on_convergence
        Ask the convergence diagnostic after every snapshot and set ``should_stop``.
    act_on
        What to do about findings, asked after every snapshot, by the names that ``koopscope
        analyze`` prints: ``{"overfitting": "stop", "spikes": "warn", "stability": function}``.
        Something is done where a finding warns, fails or advises to stop. A function gets the
        finding when it comes up, on the rank that records, and stops training by returning
        ``True``.
    patience
        Snapshots to go on for after a verdict was "stop".
    start_from_epoch
        Epochs before which training is not stopped.
    mode
        What to do where a run is recorded already: ``"new"``, ``"resume"`` or ``"overwrite"``, as
        ``koopscope.Recorder`` does. A training that goes on from a checkpoint continues its run
        with ``"new"`` as well.
    sketch, sketch_seed, keep_every
        Record so many numbers of each tensor in place of its weights: see ``koopscope.Recorder``.
        Of a model that is spread over ranks each rank sketches its part, and rank 0 records the
        sums, in one file and without gathering a weight; nothing can be kept then.

    Attributes
    ----------
    path
        The run file; another than was asked for where that holds another training.
    should_stop
        Whether training should end now.
    stopped_step, stopped_epoch
        Where that was decided; ``None`` if it was not.
    stopping_reason_message
        The finding in words, ``None`` before.

    Raises
    ------
    KoopscopeError
        If the mode is unknown, steps and epochs are both given, one of them is below 1, or
        shards are to stop on convergence.

    Examples
    --------
    >>> with Tracker("run.h5", every_n_steps=100) as tracker:  # doctest: +SKIP
    ...     for step, batch in enumerate(batches, start=1):
    ...         loss = train(batch)
    ...         tracker.after_step(step, model, loss=loss)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_n_steps: int | None = None,
        every_n_epochs: int | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        shards: bool = False,
        write_every_seconds: float = 1.0,
        stop_on_convergence: bool = False,
        act_on: Mapping[str, Reaction] | None = None,
        patience: int = 0,
        start_from_epoch: int = 0,
        mode: str = "new",
        sketch: int | bool = False,
        sketch_seed: int = 0,
        keep_every: int | None = None,
    ) -> None:
        if mode not in MODES:
            raise KoopscopeError(f"mode {mode!r} is not known", f"use one of {', '.join(MODES)}")
        if every_n_steps is not None and every_n_epochs is not None:
            raise KoopscopeError(
                "every_n_steps and every_n_epochs were both given", "choose one of them"
            )
        if every_n_steps is None and every_n_epochs is None:
            every_n_epochs = 1
        for name, number in (("every_n_steps", every_n_steps), ("every_n_epochs", every_n_epochs)):
            if number is not None and number < 1:
                raise KoopscopeError(f"{name}={number} is not possible", "use 1 or more")
        if shards and (stop_on_convergence or act_on):
            raise KoopscopeError(
                "no rank sees all weights with shards=True, so none can tell convergence",
                "record without stop_on_convergence and act_on, and analyse the shards",
            )
        self._act_on: Mapping[str, Reaction] = {}
        if act_on:
            from koopscope.integrations.acting import questions

            self._act_on = questions(act_on)
        sketching = sketch_recording(sketch, sketch_seed, keep_every)
        if shards and sketching is not None:
            raise KoopscopeError(
                "shards=True gives every rank a file, and sketches of parts add up in one",
                "leave shards out",
            )
        self.rank = current_rank()
        self._sketch, self._sketch_seed, self._keep_every = sketch, sketch_seed, keep_every
        self._ranks = RankSketches(sketching.info, self.rank) if sketching is not None else None
        self._asked, self._mode = Path(path), mode
        if shards:
            name = f"{self._asked.stem}.rank{self.rank}{self._asked.suffix}"
            self._asked = self._asked.with_name(name)
        self._every = (every_n_steps, every_n_epochs)
        self._selection = TensorSelection(include, exclude)
        self._metadata = dict(metadata or {})
        if shards:
            self._metadata |= {"rank": self.rank, "world_size": rank_count()}
        self._shards = shards
        self._stop_on_convergence = stop_on_convergence
        self._patience, self._start_from_epoch = patience, start_from_epoch
        self._write_every_seconds = write_every_seconds
        self._recorder: Recorder | None = None
        self._buffer: SnapshotBuffer | None = None
        self._watch: ConvergenceWatch | None = None
        self._findings: FindingWatch | None = None
        self._after_verdict = 0
        self._last_step: int | None = None
        self.should_stop = False
        self.stopped_step: int | None = None
        self.stopped_epoch: int | None = None
        self.stopping_reason_message: str | None = None

    def start(self, step: int, model: Any = None) -> None:
        """Begin, or go on after ``step``; with a model, its weights are the first snapshot.

        Callbacks call this. A plain loop need not, unless it goes on from a checkpoint, or wants
        the weights before the first step recorded.

        Raises
        ------
        KoopscopeError
            If nothing can be recorded: no tensor is left, or the directory does not exist.
        """
        problem: KoopscopeError | None = None
        if self._writes:
            try:
                self._begin(step if step > 0 and self._mode != "overwrite" else None)
            except KoopscopeError as error:
                problem = error
        if self._ranks is not None:  # sketches add up: all ranks take the same snapshots, or none
            problem, self._last_step = agreed((problem, self._last_step))
        if problem is not None:
            raise problem
        if model is None:
            return
        if not self._writes and self._ranks is None:
            self._collected(model)
        elif self._last_step != step:
            self._record(step, model, {})

    @property
    def path(self) -> Path:
        """The run file that is recorded, or will be."""
        return self._recorder.path if self._recorder is not None else self._asked

    def wants(self, *, step: int | None = None, epoch: int | None = None) -> bool:
        """Return whether a snapshot is due after this step, or after this epoch (from 1)."""
        every_n_steps, every_n_epochs = self._every
        if step is not None:
            return every_n_steps is not None and step % every_n_steps == 0
        return epoch is not None and every_n_epochs is not None and epoch % every_n_epochs == 0

    def after_step(self, step: int, model: Any, *, epoch: int = 0, **metrics: Any) -> bool:
        """Take a snapshot if one is due after this optimizer step (from 1); return whether.

        Parameters
        ----------
        step
            Optimizer steps done.
        model
            The model, its state dict, or (nested) mappings of names to arrays.
        epoch
            Epochs done, if there are such.
        metrics
            Numbers that describe the moment: ``loss=0.3``.
        """
        return self.wants(step=step) and self.take(step, model, epoch=epoch, **metrics)

    def after_epoch(self, epoch: int, step: int, model: Any, **metrics: Any) -> bool:
        """Take a snapshot if one is due after this epoch (from 1); return whether."""
        return self.wants(epoch=epoch) and self.take(step, model, epoch=epoch, **metrics)

    def take(self, step: int, model: Any, *, epoch: int = 0, **metrics: Any) -> bool:
        """Take a snapshot now, and return whether it is one; every rank must call this.

        A step that was recorded already is left alone.

        Raises
        ------
        KoopscopeError
            If the weights are spread over ranks without ``shards``, or nothing can be recorded.
        """
        if self._last_step is not None and step <= self._last_step:
            return False
        self._record(step, model, metrics)
        if self._stop_on_convergence or self._act_on:
            self._decide(step, epoch)
        return True

    def close(self) -> None:
        """Write what is not yet written. Interpreter exit does so too."""
        self._flush()
        if self._recorder is not None:
            self._recorder.close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _writes(self) -> bool:
        return self._shards or self.rank == 0

    def _begin(self, resume_from: int | None) -> SnapshotBuffer:
        self.close()  # what a training before this one has left to write
        self._recorder = Recorder(
            self._asked,
            metadata=self._metadata,
            resume_from=resume_from,
            mode=self._mode,
            sketch=self._sketch,
            sketch_seed=self._sketch_seed,
            keep_every=self._keep_every,
        )
        self._buffer = SnapshotBuffer(self._recorder, self._write_every_seconds)
        self._last_step = self._recorder.last_step
        return self._buffer

    def _flush(self) -> None:
        if self._buffer is not None:
            self._buffer.flush()

    def _record(self, step: int, model: Any, metrics: Mapping[str, Any]) -> None:
        tensors = self._collected(model)
        buffer = self._buffer
        if buffer is None and self._writes:
            buffer = self._begin(None)
        self._last_step = step
        if buffer is None:  # another rank writes
            return
        numbers = {name: value for name, value in metrics.items() if _is_number(value)}
        if tensors:
            buffer.add(step, tensors, numbers)

    def _collected(self, model: Any) -> dict[str, Any]:
        """Gather the tensors; on every rank, since gathering may need all of them."""
        tensors = self._selection.of(model)
        if self._shards:
            return local_parts(tensors, self.rank, whole=not isinstance(model, Mapping))
        spread = spread_over_ranks(tensors)
        if spread and self._ranks is None:
            raise KoopscopeError(
                f"{spread[0]} is spread over several ranks, and rank {self.rank} holds a part",
                "pass shards=True: every rank records its own part; or sketch=True",
            )
        if spread and self._ranks is not None:
            if self._keep_every is not None:
                raise KoopscopeError(
                    f"{spread[0]} is spread over several ranks, and its weights cannot be kept",
                    "leave keep_every out, and keep the checkpoints of the training",
                )
            return {**self._ranks.summed(tensors, spread)}
        return tensors

    def _decide(self, step: int, epoch: int) -> None:
        stop = False
        if self._writes and not self.should_stop and epoch >= self._start_from_epoch:
            self._flush()
            converged, findings = self._watches()
            if self._stop_on_convergence and converged.stop_step() is not None:
                stop = self._after_verdict >= self._patience
                self._after_verdict += 1
            if findings is not None and findings.should_stop():
                stop = True
        if agreed(stop):
            self.should_stop = True
            self.stopped_step, self.stopped_epoch = step, epoch
            self.stopping_reason_message = self._reason()

    def _watches(self) -> tuple[ConvergenceWatch, FindingWatch | None]:
        """Return what is asked of the run that is being recorded; both read it once."""
        if self._watch is None or self._watch.path != self.path:
            from koopscope.analysis.follow import Follower
            from koopscope.integrations.stopping import ConvergenceWatch

            follower = Follower(self.path)
            self._watch = ConvergenceWatch(self.path, follower)
            if self._act_on:
                from koopscope.integrations.acting import FindingWatch

                self._findings = FindingWatch(follower, self._act_on, self._patience)
        return self._watch, self._findings

    def _reason(self) -> str:
        """Return the finding in words; a rank that does not write has none."""
        finding = self._findings.stopped_by if self._findings is not None else None
        if finding is None and self._watch is not None:
            finding = self._watch.finding
        return finding.message if finding is not None else "converged"


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return not isinstance(value, (str, bytes))
