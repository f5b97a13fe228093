"""Append snapshots of a training run to a run file, one open-append-close at a time.

A training goes on whatever happens: what the caller did wrong raises, what the world did wrong (a
full disk, a file that vanished, another training in it) is warned of, and costs one snapshot or
another name. A snapshot that was committed is not lost, whenever the process dies.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from koopscope import messages
from koopscope.errors import KoopscopeError
from koopscope.runs.claims import Claim, claim, holder_of
from koopscope.runs.interrupts import signals_held
from koopscope.runs.names import BUFFER_NAMES
from koopscope.runs.native.creating import create_run
from koopscope.runs.native.places import MODES, NoPlaceError, Place, beside, recorded_in, settle
from koopscope.runs.native.row_writing import Missing, write_metrics, write_weights
from koopscope.runs.native.rows import Row, checked_step, must_increase
from koopscope.runs.native.sketch_recording import sketch_recording
from koopscope.runs.native.tensor_plan import listing_of, planned
from koopscope.runs.native.writer import RunWriter, UnfitFileError, open_for_appending

#: Seconds to wait for a program that writes to the file before a snapshot is given up.
LOCK_PATIENCE = 2.0


class Recorder:
    """Record a training run, one call per snapshot.

    Parameters
    ----------
    path
        The run file. What is there already is kept: see ``mode``.
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
    mode
        What to do where a run is recorded already, decided by the first snapshot. ``"new"`` goes on
        in it if the steps do, and records a training that begins again beside it, in ``run-2.h5``.
        ``"resume"`` goes on in it also from an earlier step, in place of the snapshots from there
        on. ``"overwrite"`` replaces it, once the first new snapshot is complete. Anything but a run
        is never touched. Where the file that is recorded is not the one of that name, it is said.
    sketch
        Record a sketch of so many numbers of each tensor, and exact facts beside it, in place of
        its weights: ``True`` for 256, ``False`` for the weights. Bytes then do not grow with the
        network, and verdicts say what the sketch costs them.
    sketch_seed
        Of the random sums; the ranks of one training use one.
    keep_every
        With a sketch: keep the weights of every so manyth snapshot too, from the first on.

    Attributes
    ----------
    path
        The file that is recorded.

    Raises
    ------
    KoopscopeError
        If the directory of ``path`` does not exist, or an argument is not possible.

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
        mode: str = "new",
        sketch: int | bool = False,
        sketch_seed: int = 0,
        keep_every: int | None = None,
    ) -> None:
        self.path = Path(path)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise KoopscopeError(
                f"metadata must be a mapping, not {type(metadata).__name__}",
                'pass a dictionary, for example metadata={"lr": 1e-3}',
            )
        if mode not in MODES:
            raise KoopscopeError(f"mode {mode!r} is not known", f"use one of {', '.join(MODES)}")
        if mode == "overwrite" and resume_from is not None:
            raise KoopscopeError(
                "resume_from continues a run, and mode='overwrite' replaces it", "give one of them"
            )
        self._sketch = sketch_recording(sketch, sketch_seed, keep_every)
        self._metadata = metadata or {}
        self._kinds = {"state": tuple(states), "buffer": tuple(buffers)}
        self._warned: set[str] = set()
        if not self.path.parent.is_dir():
            raise KoopscopeError(
                f"{self.path} cannot be recorded: {self.path.parent} is not a directory",
                "create the directory first",
            )
        self._asked, self._mode = self.path, mode
        self._was_there = os.path.lexists(os.path.realpath(self.path))
        self._claim: Claim | None = None
        self._release: weakref.finalize[Any, Recorder] | None = None
        self._begins: Place | None = None
        self._snapshots = 0
        self._last_step: int | None = None
        self._refused = False
        if resume_from is not None and self._was_there:
            self._take_back(checked_step(resume_from))

    @property
    def last_step(self) -> int | None:
        """The step of the last snapshot in the file, ``None`` before it is known which file."""
        return self._last_step

    def snapshot(
        self, step: int, tensors: Mapping[Any, Any], *, keep: bool = False, **metrics: Any
    ) -> bool:
        """Append one snapshot and return whether it was written.

        Parameters
        ----------
        step
            Optimizer step, larger than that of the snapshot before.
        tensors
            Names to arrays or tensors of any framework; nested mappings are joined with ``/``.
            The first snapshot decides which tensors are recorded, and their shapes. With
            ``sketch``, tensors spread over several devices count with the parts that this process
            holds.
        keep
            With ``sketch``: keep the weights of this snapshot as well.
        metrics
            Numbers that describe the moment: ``loss=0.3, val_loss=0.4``. ``None`` is none given.

        Raises
        ------
        KoopscopeError
            For a wrong call only: a step that does not increase, tensors that are no mapping or
            hold no tensor of floats, a metric that is no number.
        """
        return self.snapshots([Row.of(step, tensors, metrics, keep)])

    def snapshots(
        self, batch: Sequence[Row | tuple[int, Mapping[Any, Any], Mapping[str, Any]]]
    ) -> bool:
        """Append several snapshots in one change of the file: for small networks, far cheaper.

        An interrupt that arrives meanwhile waits until they are written.

        Parameters
        ----------
        batch
            (step, tensors, metrics) of each, as in ``snapshot``. All of them are written or none.

        Raises
        ------
        KoopscopeError
            As in ``snapshot``.
        """
        rows = [row if isinstance(row, Row) else Row.of(*row) for row in batch]
        if not rows or self._refused:
            return not rows
        try:
            with signals_held():
                if self._sketch is not None:
                    rows = [self._sketch.measured(row) for row in rows]
                return self._record(rows)
        except KoopscopeError:
            raise
        except Exception as error:  # whatever the disk or HDF5 does must not end the training
            self._warn_of(error, rows[0].step)
            return False

    def measured(self, row: Row) -> Row | None:
        """Return a snapshot that takes little room until it is written: a sketch, if asked for.

        ``None`` where it cannot be sketched, which is warned of.

        Raises
        ------
        KoopscopeError
            If a tensor is spread over processes in a way that is not known.
        """
        if self._sketch is None:
            return row
        try:
            return self._sketch.measured(row)
        except KoopscopeError:
            raise
        except Exception as error:  # a device that fails must not end the training here
            self._warn_of(error, row.step)
            return None

    def close(self) -> None:
        """Let other processes write to the file. Every snapshot has been on disk all along."""
        if self._release is not None:
            self._release()
        self._claim = self._release = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _record(self, rows: Sequence[Row]) -> bool:
        must_increase(rows, self._last_step, self.path)
        try:
            with self._claimed(rows[0]).turn:
                try:
                    self._write_all(rows)
                except (UnfitFileError, FileNotFoundError) as error:
                    if not self.path.parent.is_dir():
                        raise
                    gone = f"{self.path} was removed while it was recorded"
                    why = error.message if isinstance(error, UnfitFileError) else gone
                    self._move(beside(self._asked, why))
                    self._write_all(rows)
        except NoPlaceError as error:
            self._leave()
            self._refused = True
            self._warn(f"nothing is recorded: {error}", cause="refused")
        return not self._refused

    def _write_all(self, rows: Sequence[Row]) -> None:
        try:
            rows = self._begun(rows)
        except BaseException:  # nothing was begun: the next snapshot looks again
            self.close()
            self._begins = None
            raise
        if rows:
            self._append(rows)

    def _claimed(self, row: Row) -> Claim:
        """Return the claim under which this process writes; raise NoPlaceError if it may not."""
        if self._claim is not None and self._claim.holds:
            return self._claim
        if self._claim is None and not self._snapshots:
            place = settle(
                self._asked,
                self._mode,
                row.step,
                row.tensors,
                was_there=self._was_there,
                sketch=None if self._sketch is None else self._sketch.info,
            )
            self._move(place)
            return place.claim
        again = claim(self.path)  # closed, forked from the recorder, or someone removed the lock
        if again is None:
            raise NoPlaceError(
                f"{self.path} is being recorded by {holder_of(self.path)}, and by it alone"
            )
        self._take(again)
        return again

    def _leave(self) -> None:
        """Give up the place where was recorded until now."""
        self.close()
        self._snapshots, self._last_step, self._begins = 0, None, None
        self._forget_sketches()

    def _move(self, place: Place) -> None:
        """Record to a place from now on, and say so."""
        self._leave()
        self._take(place.claim)
        self.path = place.path
        if place.said:
            self._warn(place.said, cause=place.said)
        if place.begins:
            self._begins = place
        elif place.earlier is not None:
            self._snapshots, self._last_step = place.earlier.snapshots, place.earlier.last
            if place.keep_until is not None:
                self._discard_after(place.keep_until)

    def _take(self, taken: Claim) -> None:
        self._claim = taken
        self._release = weakref.finalize(self, taken.release)

    def _take_back(self, step: int) -> None:
        """Continue the run from this step on, unless nothing of it would be left."""
        with signals_held():
            try:
                earlier = recorded_in(self._asked)
            except KoopscopeError:
                return  # the first snapshot decides
            if earlier.first is None or earlier.first > step:
                return
            taken = claim(self._asked)
            if taken is not None:
                self._move(Place(self._asked, taken, earlier, keep_until=step))

    def _discard_after(self, step: int) -> None:
        with open_for_appending(self.path, LOCK_PATIENCE) as writer:
            writer.discard_after(step)
            self._snapshots, self._last_step = writer.snapshots, writer.last_step
        self._forget_sketches()

    def _forget_sketches(self) -> None:
        if self._sketch is not None:
            self._sketch.forget()

    def _begun(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Begin the file with the first row if there is none yet; return what is left to write."""
        if self._begins is None:
            return rows
        place = self._begins
        try:
            self._create(rows[0], place)
        except FileExistsError:
            raise NoPlaceError(f"{self.path} has been begun by another recorder") from None
        self._begins = None
        self._snapshots, self._last_step = 1, rows[0].step
        return rows[1:]

    def _create(self, row: Row, place: Place) -> None:
        plans, skipped = planned(row.tensors, self._kinds)
        replace = place.earlier.generation if place.earlier is not None else None
        layout = None if self._sketch is None else self._sketch.layout(plans, row)
        with create_run(
            self.path, plans, skipped, self._metadata, replace=replace, sketch=layout
        ) as writer:
            self._write(writer, [row])
        if self._sketch is not None:
            self._sketch.committed()
        listed = listing_of(skipped)
        if listed:
            self._warn(f"not recorded in {self.path}: {listed}", cause="skipped")

    def _append(self, rows: Sequence[Row]) -> None:
        with open_for_appending(self.path, LOCK_PATIENCE) as writer:
            if writer.snapshots != self._snapshots or writer.last_step != self._last_step:
                self._check_changed(writer, rows)
            self._write(writer, rows)
            snapshots = writer.snapshots
        if self._sketch is not None:
            self._sketch.committed()
        self._snapshots, self._last_step = snapshots, rows[-1].step

    def _check_changed(self, writer: RunWriter, rows: Sequence[Row]) -> None:
        """Go on only in a file that still holds what was recorded, and nothing later."""
        if self._snapshots and writer.step_of(self._snapshots - 1) != self._last_step:
            raise UnfitFileError(f"{self.path} was replaced while it was recorded")
        if writer.last_step is not None and rows[0].step <= writer.last_step:
            raise UnfitFileError(f"{self.path} was continued by another recorder")
        self._forget_sketches()

    def _write(self, writer: RunWriter, rows: Sequence[Row]) -> None:
        if self._sketch is None:
            missing = write_weights(writer, rows, self.path)
        else:
            problems = self._sketch.write(writer, rows)
            missing = (Missing(said, f"{said}, in {self.path}") for said in problems)
        for what in chain(missing, write_metrics(writer, rows, self.path)):
            self._warn(what.sentence, cause=what.cause)
        writer.commit(*(row.step for row in rows))

    def _warn_of(self, error: Exception, step: int) -> None:
        self._warn(
            f"snapshot at step {step} was not recorded in {self.path}: {_one_line(error)}",
            cause=f"{type(error).__name__} {getattr(error, 'errno', '')}",
        )

    def _warn(self, message: str, cause: str) -> None:
        if cause not in self._warned:
            self._warned.add(cause)
            messages.warn(message)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
