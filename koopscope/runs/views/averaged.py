"""A part of a run seen more coarsely: each snapshot the mean of several neighbours.

Where snapshots lie closer together than the question reaches, neighbours differ by minibatch noise
more than by motion, and their mean tells more than any one of them. Reads through to the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.run import BLOCK_BYTES, FloatArray, Run, TensorInfo


class PooledRun(Run):
    """Means of ``every`` snapshots, in groups that lie side by side.

    A group's step is that of its middle snapshot.

    Parameters
    ----------
    run
        The run; closing this one leaves it open.
    every
        Snapshots in a group, odd; 1 for some of the snapshots as they are.
    first, stop
        The snapshots looked at; groups end with the last one, what is left at the beginning counts
        nowhere.

    Raises
    ------
    KoopscopeError
        If ``every`` is even, or not one group is full.
    """

    def __init__(self, run: Run, every: int, first: int, stop: int) -> None:
        groups = (stop - first) // every
        if every % 2 == 0 or groups < 1:
            raise KoopscopeError(
                f"{stop - first} snapshots cannot be pooled by {every}",
                "pool by an odd number that the run holds",
            )
        self._run, self._every, self._groups = run, every, groups
        self._first, self._stop = stop - groups * every, stop
        middles = slice(self._first + every // 2, stop, every)
        recorded = run.description
        self.description = replace(
            recorded,
            steps=recorded.steps[middles],
            metrics={
                name: values[self._first : stop].reshape(groups, every).mean(axis=1)
                for name, values in recorded.metrics.items()
            },
        )

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (groups, stop - start) with means, reading a bounded part at a time."""
        dtype, snapshots = self._run.read_dtype(tensor), self._run.description.snapshots
        width = max(1, BLOCK_BYTES // (snapshots * dtype.itemsize))
        for begin in range(start, stop, width):
            end = min(begin + width, stop)
            rows = np.empty((snapshots, end - begin), dtype)
            self._run.read(tensor, begin, end, rows)
            groups = rows[self._first : self._stop].reshape(self._groups, self._every, -1)
            part = out[:, begin - start : end - start]
            if self._every == 1:
                part[:] = groups[:, 0]
            else:
                groups.mean(axis=1, dtype=out.dtype, out=part)

    def read_dtype(self, tensor: TensorInfo) -> np.dtype[Any]:
        """Means are kept in double precision: their differences are what matters."""
        stored = self._run.read_dtype(tensor)
        return stored if self._every == 1 else np.result_type(stored, np.float64)

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield ranges that the run underneath reads well."""
        return self._run.cuts(tensor, width)

    def close(self) -> None:
        """Do nothing: whoever opened the run closes it."""
