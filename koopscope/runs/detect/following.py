"""Follow a folder into which a training writes checkpoints: each complete one becomes a snapshot.

The run file is whole after every snapshot, and keeps those whose checkpoints the training deletes.
Nothing in the folder is ever changed, and no lock is taken in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.series import CheckpointSeries
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.claims import claim, holder_of
from koopscope.runs.detect.converting import copy_snapshot, plans_of
from koopscope.runs.detect.sources import checkpoints_in, snapshots_of
from koopscope.runs.native.creating import create_run
from koopscope.runs.native.reader import RunFile
from koopscope.runs.native.writer import open_for_appending
from koopscope.runs.run import TensorInfo

_LOCK_PATIENCE = 10.0

#: Files and folders of one checkpoint that are looked at.
_MOST_FILES = 100_000

_Looks = tuple[tuple[str, int, int], ...]
Metrics = Callable[[CheckpointSeries], Mapping[str, npt.NDArray[np.float64]]]


@dataclass(frozen=True)
class Choice:
    """What is taken of the checkpoints; see ``CheckpointSeries`` and ``open_run``."""

    keep: Callable[[str], bool] = lambda name: True
    step_pattern: str | None = None
    key: str | None = None


@dataclass
class Following:
    """A run file that grows with a folder.

    Attributes
    ----------
    sources, output
        Folders or files, which need not exist yet; and the run file.
    choice
        What is taken.
    steps
        What the run file holds.
    waiting
        Why a checkpoint is not copied yet, by its path; empty texts for those just found.
    left_out
        Checkpoints that came too late: the run file holds a later step already.
    """

    sources: Sequence[Path]
    output: Path
    choice: Choice = field(default_factory=Choice)
    steps: list[int] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    _looks: dict[Path, _Looks] = field(default_factory=dict)
    _known: dict[Path, tuple[_Looks, Snapshot]] = field(default_factory=dict)
    _tensors: tuple[TensorInfo, ...] = ()

    def continue_existing(self) -> bool:
        """Take up a run file that the same command began; return whether there is one.

        Raises
        ------
        KoopscopeError
            If the file cannot be read.
        """
        if not self.output.is_file():
            return False
        try:
            with RunFile(self.output) as run:
                if run.description.metadata.get("followed") != self._identity():
                    return False
                self.steps = run.description.steps.tolist()
                self._tensors = run.description.tensors
        except KoopscopeError:
            return False
        return True

    def rounds(
        self, interval: float, idle: float | None, stopped: Event, metrics: Metrics
    ) -> Iterator[list[int]]:
        """Look again and again; yield the steps that each look added, and what it waits for.

        Parameters
        ----------
        interval
            Seconds between looks. A checkpoint is complete when two looks in a row find all its
            files of one size and time, and it can be described.
        idle
            Seconds without a new snapshot after which to leave; ``None`` for never.
        stopped
            Leave when it is set, after the snapshot that is being copied.
        metrics
            Values per snapshot to store besides the checkpoints' own.

        Raises
        ------
        KoopscopeError
            If the checkpoints are not of one network, or another program writes the run file.
        """
        taken = claim(self.output, shared=False)
        if taken is None:
            raise KoopscopeError(
                f"{self.output} is being written by {holder_of(self.output)}",
                "wait until it is done, or name another output",
            )
        try:
            last_news = time.monotonic()
            while not stopped.is_set():
                added = self._look(stopped, metrics)
                if added:
                    last_news = time.monotonic()
                yield added
                if idle is not None and time.monotonic() - last_news >= idle:
                    return
                stopped.wait(interval)
        finally:
            taken.release()

    def _look(self, stopped: Event, metrics: Metrics) -> list[int]:
        """Copy what is complete and new; return its steps."""
        settled = self._settled()
        if all(path in self._known and self._known[path][0] == settled[path] for path in settled):
            return []
        snapshots = []
        fresh = False
        for path, looks in settled.items():
            known = self._known.get(path)
            if known is None or known[0] != looks:
                try:
                    (snapshot,) = snapshots_of([path], self.choice.key)
                except (KoopscopeError, OSError) as error:  # half written, or gone meanwhile
                    self.waiting[str(path)] = str(error)
                    continue
                known, fresh = (looks, snapshot), True
                self._known[path] = known
            self.waiting.pop(str(path), None)
            snapshots.append(known[1])
        return self._copied(snapshots, stopped, metrics) if fresh and snapshots else []

    def _settled(self) -> dict[Path, _Looks]:
        """Return the checkpoints of which two looks in a row have seen the same."""
        looks: dict[Path, _Looks] = {}
        for source in self.sources:
            try:
                for path in checkpoints_in(source):
                    looks[path] = _look_at(path)
            except (KoopscopeError, OSError) as error:
                self.waiting[str(source)] = str(error)
            else:
                self.waiting.pop(str(source), None)
        settled = {path: seen for path, seen in looks.items() if self._looks.get(path) == seen}
        for gone in set(self._looks) - set(looks):
            self.waiting.pop(str(gone), None)
            self._known.pop(gone, None)
        self._looks = looks
        return settled

    def _copied(self, snapshots: Sequence[Snapshot], stopped: Event, metrics: Metrics) -> list[int]:
        series = CheckpointSeries(
            snapshots, step_pattern=self.choice.step_pattern, keep=self.choice.keep
        )
        with series:
            self._must_fit(series)
            columns = {**series.description.metrics, **metrics(series)}
            added = []
            for index, step in enumerate(series.description.steps.tolist()):
                path = series.paths[index]
                if stopped.is_set():
                    break
                if self.steps and step <= self.steps[-1]:
                    if step not in self.steps:
                        self.left_out[path] = step
                    continue
                values = {name: float(column[index]) for name, column in columns.items()}
                try:
                    self._append(series, index, values)
                except (KoopscopeError, OSError) as error:
                    if os.path.exists(path):
                        raise
                    self.waiting[path] = f"it was deleted while it was copied ({error})"
                    continue
                self.steps.append(step)
                added.append(step)
                series.release(index)
        return added

    def _append(self, series: CheckpointSeries, index: int, values: Mapping[str, float]) -> None:
        step = int(series.description.steps[index])
        if self.steps:
            with open_for_appending(self.output, _LOCK_PATIENCE) as writer:
                copy_snapshot(series, index, self._tensors, writer)
                for name, value in values.items():
                    writer.write_metric(name, value)
                writer.commit(step)
            return
        description = series.description
        metadata = {
            **description.metadata,
            "converted_from": series.description.format.partition(", ")[0],
            "followed": self._identity(),
        }
        plans = plans_of(description.path, description.tensors)
        # The caller has made sure that a file that is there may be replaced.
        replaced = 0 if self.output.exists() else None
        with create_run(
            self.output, plans, description.skipped, metadata, replace=replaced
        ) as writer:
            copy_snapshot(series, index, description.tensors, writer)
            for name, value in values.items():
                writer.write_metric(name, value)
            writer.commit(step)
        self._tensors = description.tensors

    def _must_fit(self, series: CheckpointSeries) -> None:
        """Make sure that new checkpoints hold what the run file does."""
        if not self._tensors:
            return
        mine = {tensor.name: (tensor.shape, tensor.dtype) for tensor in self._tensors}
        theirs = {t.name: (t.shape, t.dtype) for t in series.description.tensors}
        for name in [*mine, *theirs]:
            if mine.get(name) != theirs.get(name):
                raise KoopscopeError(
                    f"{name} of {series.paths[-1]} is not what {self.output} holds: the "
                    "checkpoints are of another network",
                    "follow it into another run file",
                )

    def _identity(self) -> str:
        """Return a digest of what is followed, so that only the same is continued."""
        said = [[str(path.absolute()) for path in self.sources]]
        said += [[str(self.choice.step_pattern), str(self.choice.key), str(self.choice.keep)]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def _look_at(path: Path) -> _Looks:
    """Return name, size and time of every file of a checkpoint."""
    if not path.is_dir():
        about = path.stat()
        return ((path.name, about.st_size, about.st_mtime_ns),)
    seen = []
    for folder, _, files in os.walk(path):
        for name in files:
            about = os.stat(os.path.join(folder, name))
            seen.append((os.path.join(folder, name), about.st_size, about.st_mtime_ns))
            if len(seen) > _MOST_FILES:
                raise KoopscopeError(
                    f"{path} holds more than {_MOST_FILES:,} files", "name a folder of checkpoints"
                )
    return tuple(sorted(seen))
