"""Which snapshot of one run is held against which of another: of the same step, or as far along.

Runs that were recorded at the same steps are aligned by step. Others are aligned by progress: the
same part of the way from the first to the last step of each. Which of both is always said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError

Way = Literal["step", "progress"]
Steps = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]

#: Fewest snapshots that can be compared: a course takes an increment before and one after.
FEWEST = 3

#: Runs are aligned by step where so large a part of the shorter one's snapshots is in all of them.
_PART_IN_COMMON = 0.5


@dataclass(frozen=True)
class Timeline:
    """The snapshots of several runs that are held against each other.

    Attributes
    ----------
    way
        ``step`` or ``progress``.
    indices
        Of each run, [K] of its snapshots.
    steps
        int64 [K], of the first run.
    """

    way: Way
    indices: tuple[Indices, ...]
    steps: Steps

    @property
    def count(self) -> int:
        """Number K of snapshots."""
        return len(self.steps)

    @property
    def sentence(self) -> str:
        """How they were aligned, in words."""
        first, last = int(self.steps[0]), int(self.steps[-1])
        if self.way == "step":
            return f"{self.count} snapshots of the same steps, {first:,} to {last:,}"
        return (
            f"{self.count} snapshots at the same part of each run, since their steps differ "
            "(aligned by progress)"
        )


def timeline(steps: Sequence[Steps], finite: Sequence[npt.NDArray[np.bool_]]) -> Timeline:
    """Align the snapshots of runs.

    Parameters
    ----------
    steps, finite
        Of each run, int64 [T] and bool [T]. What comes after a run's first snapshot that is not
        finite is left out.

    Raises
    ------
    KoopscopeError
        If fewer than three snapshots can be held against each other.
    """
    until = [_finite_until(each) for each in finite]
    usable = [known[:stop] for known, stop in zip(steps, until, strict=True)]
    shortest = min(len(each) for each in usable)
    if shortest < FEWEST:
        raise KoopscopeError(
            f"a run with {shortest or 'no'} usable snapshot{'s' * (shortest != 1)} cannot be "
            "compared",
            f"record at least {FEWEST} snapshots of finite weights; 20 or more say much more",
        )
    common = reduce(np.intersect1d, usable)
    if len(common) >= max(FEWEST, _PART_IN_COMMON * shortest):
        return Timeline("step", tuple(np.searchsorted(each, common) for each in usable), common)
    return _by_progress(usable, shortest)


def _finite_until(finite: npt.NDArray[np.bool_]) -> int:
    bad = np.flatnonzero(~finite)
    return int(bad[0]) if len(bad) else len(finite)


def _by_progress(steps: Sequence[Steps], count: int) -> Timeline:
    """Take ``count`` snapshots of each run, the nearest to even parts of its way."""
    shortest = min(steps, key=len)
    parts = (shortest - shortest[0]) / max(1, shortest[-1] - shortest[0])
    indices = []
    for each in steps:
        progress = (each - each[0]) / max(1, each[-1] - each[0])
        places = np.searchsorted(progress, parts).clip(1, len(each) - 1)
        nearer = parts - progress[places - 1] < progress[places] - parts
        indices.append(places - nearer)
    # Two parts may have one nearest snapshot: it is taken once, in every run.
    moved = np.all([np.diff(each, prepend=-1) > 0 for each in indices], axis=0)
    kept = tuple(each[moved].astype(np.intp) for each in indices)
    return Timeline("progress", kept, steps[0][kept[0]])
