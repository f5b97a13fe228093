"""Unevenly spaced snapshots seen as the best even progression inside them.

Language models are often saved at steps 0, 1, 2, 4, ... 512, 1000, 2000, ...: the longest even
stretch of neighbours leaves out step 0, and the progression 0, 1000, 2000, ... does not. Reads
through to the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from koopscope.runs.run import Run, TensorInfo, snapshots_between
from koopscope.runs.views.excerpt import Excerpt

#: Gaps between neighbours that are tried as the spacing, the most frequent first.
_SPACINGS = 16

#: A progression of fewer snapshots is not worth leaving others out.
_FEWEST = 3


def best_progression(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Return the indices of the longest arithmetic progression inside increasing steps.

    The gaps between neighbours are tried as its spacing. Of equally long progressions the one that
    covers more steps is taken, then the one that ends later.

    Parameters
    ----------
    steps
        int64 [T], increasing.
    """
    values = steps.tolist()
    gaps = [gap for gap, _ in Counter(np.diff(steps).tolist()).most_common(_SPACINGS)]
    best, spacing = (0, 0, 0), 0
    for gap in gaps:
        length: dict[int, int] = {}
        for value in values:
            length[value] = length.get(value - gap, 0) + 1
            rank = (length[value], gap, value)
            if rank > best:
                best, spacing = rank, gap
    count, _, last = best
    wanted = last - spacing * np.arange(count - 1, -1, -1)
    return np.searchsorted(steps, wanted)


def evenly_spaced(run: Run, window: tuple[int | None, int | None] = (None, None)) -> Run:
    """Return the run, or its best even progression where that has more snapshots than a stretch.

    Parameters
    ----------
    run
        Stays the caller's to close.
    window
        First and last step that are asked for; ``None`` leaves a side open.
    """
    steps = run.description.steps
    first, stop = snapshots_between(steps, window)
    inside = np.arange(first, stop)
    asked = steps[inside]
    if len(asked) < _FEWEST or (np.diff(asked) == asked[1] - asked[0]).all():
        return run
    chosen = best_progression(asked)
    if len(chosen) < _FEWEST or len(chosen) <= _longest_stretch(asked):
        return run
    return ProgressionRun(run, inside[chosen], asked)


class ProgressionRun(Excerpt):
    """Some snapshots of a run, named by their indices.

    Parameters
    ----------
    run
        Closing this one leaves it open.
    chosen
        Increasing indices of snapshots.
    asked
        Steps that were asked for, for the note about those left out.
    """

    def __init__(
        self, run: Run, chosen: npt.NDArray[np.intp], asked: npt.NDArray[np.int64]
    ) -> None:
        super().__init__(run, chosen, 1)
        steps = self.description.steps
        others = np.setdiff1d(asked, steps)
        named = ", ".join(f"{step:,}" for step in others[:3])
        if len(others) > 3:
            named += f", ... {others[-1]:,}"
        note = (
            f"unevenly spaced: the {len(steps)} snapshots every {steps[1] - steps[0]:,} steps from "
            f"{steps[0]:,} to {steps[-1]:,} are used, {len(others)} between or beside them left "
            f"out (step{'s' if len(others) > 1 else ''} {named})"
        )
        self.description = replace(self.description, notes=(*self.description.notes, note))

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield ranges that the run reads well, narrower since all its snapshots are read."""
        narrower = width * self.description.snapshots // self._run.description.snapshots
        return self._run.cuts(tensor, max(1, narrower))


def _longest_stretch(steps: npt.NDArray[np.int64]) -> int:
    """Return how many neighbours at most lie at equal distances."""
    gaps = np.diff(steps)
    changes = np.flatnonzero(np.diff(gaps)) + 1
    borders = np.concatenate([[0], changes, [len(gaps)]])
    return int(np.diff(borders).max()) + 1
