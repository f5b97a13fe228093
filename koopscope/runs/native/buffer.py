"""Snapshots of small networks, kept for a moment and written together.

Opening a run file costs the same whatever it holds; for a network whose epoch takes milliseconds
that is all the cost there is. Keeps no snapshot longer than it was told, and no more than
``KEPT_BYTES``.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from koopscope.runs.dtypes import LeftOutError, StoredArray, as_stored
from koopscope.runs.interrupts import signals_held
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.native.rows import Row
from koopscope.runs.sketching.sketcher import Sketched

#: The next write waits for so many times as long as the last one took: writing takes under 0.5%.
PATIENCE = 200.0

#: More than this is not kept, and a larger snapshot is written without being copied.
KEPT_BYTES = 16 * 2**20

_Batch = list[Row]


class SnapshotBuffer:
    """Hands snapshots to a recorder at most every ``seconds``, and less often where that is slow.

    What is left is written when the buffer is flushed or goes away, at the latest when the
    interpreter exits; a forked child writes nothing of its parent's.

    Parameters
    ----------
    recorder
        Writes the snapshots.
    seconds
        Between two writes; 0 writes each snapshot at once.
    """

    def __init__(self, recorder: Recorder, seconds: float) -> None:
        self._recorder = recorder
        self._seconds = seconds
        self._pid = os.getpid()
        self._kept: _Batch = []
        self._bytes = 0
        self._due = -float("inf")
        # At exit before h5py takes itself apart: handlers run in the reverse order of registering.
        last_chance = weakref.finalize(self, _write, recorder, self._kept, os.getpid())
        last_chance.atexit = False
        atexit.register(last_chance)

    def add(self, step: int, tensors: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Take a snapshot over; the tensors may change as soon as this returns.

        Raises
        ------
        KoopscopeError
            As ``Recorder.snapshot`` does.
        """
        if self._pid != os.getpid():  # forked: what the parent keeps is the parent's
            self._kept, self._bytes, self._pid = [], 0, os.getpid()
        due = time.monotonic() >= self._due
        row = self._recorder.measured(Row.of(step, tensors, metrics))
        if row is None:
            return
        if (due and not self._kept) or row.kept is not None:
            self._kept.append(row)
        else:
            copied, size = _copied(row.tensors)
            self._kept.append(replace(row, tensors=copied))
            self._bytes += size
        if due or row.kept is not None or self._bytes > KEPT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        began = time.monotonic()
        self._bytes = 0
        _write(self._recorder, self._kept, self._pid)
        if self._seconds > 0.0:
            took = time.monotonic() - began
            self._due = began + took + max(self._seconds, PATIENCE * took)


def _copied(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    copied: dict[str, Any] = {}
    size = 0
    for name, value in tensors.items():
        if isinstance(value, Sketched):
            copied[name] = value
            size += value.values.nbytes + value.facts.nbytes
            continue
        try:
            stored = as_stored(value)
        except LeftOutError:  # the recorder says why
            copied[name] = value
            continue
        copied[name] = StoredArray(stored.dtype, stored.words.copy())
        size += stored.words.nbytes
    return copied, size


def _write(recorder: Recorder, kept: _Batch, pid: int) -> None:
    if pid != os.getpid():
        return
    with signals_held():  # an interrupt must find a snapshot either kept or written
        batch, kept[:] = list(kept), []
        if batch:
            recorder.snapshots(batch)
