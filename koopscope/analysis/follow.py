"""Follow a run that another process is recording: look again, and take up what was added.

Each new snapshot costs one row of the Gram matrix. Of more snapshots than ``MOST_FOLLOWED`` every
second is taken, or every fourth, and so on: what a look costs, and holds, stays bounded, and the
longer the run, the fewer looks read anything. It never waits, and never locks the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine.extend import grown_grams
from koopscope.engine.local import Plan
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run, select_tensors
from koopscope.runs.views.excerpt import Excerpt
from koopscope.spectra.gram import SnapshotGram

#: Snapshots that are multiplied with each other and judged at each look.
MOST_FOLLOWED = 500


class Follower:
    """The analysis of a growing run, brought up to date whenever it is asked to look.

    Parameters
    ----------
    path
        A run file, or anything else that ``open_run`` opens; it need not exist yet.
    settings
        What to look at.
    opener
        Opens ``path``; ``open_run`` by default.

    Attributes
    ----------
    analysis
        Of the run as it was when it was last read, ``None`` before the first snapshot.
    recorded
        Snapshots that there were at the last look.
    every
        Of so many snapshots one is taken: a power of 2.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Settings | None = None,
        opener: Callable[[str | os.PathLike[str]], Run] = open_run,
    ) -> None:
        self.path = path
        self._opened = opener
        self.settings = settings or Settings()
        self.analysis: Analysis | None = None
        self.recorded = 0
        self.every = 1
        self._grams: Mapping[str, SnapshotGram] = {}

    def look(self) -> bool:
        """Read what was recorded since the last look; return whether that changed the analysis.

        Raises
        ------
        KoopscopeError
            If the run does not exist yet, or cannot be read at this moment.
        """
        with self._opened(self.path) as whole:
            self.recorded = whole.description.snapshots
            self.every = _every(self.recorded)
            run = whole
            if self.every > 1:
                width = Plan.of(self.recorded).width
                run = Excerpt(whole, slice(None, None, self.every), width)
            return self._take_up(run)

    def _take_up(self, run: Run) -> bool:
        description = run.description
        known_run = self.analysis.description if self.analysis else None
        before = known_run.steps.tolist() if known_run else []
        steps = description.steps.tolist()
        if known_run and description.generation != known_run.generation:
            before = []  # training was taken back: what stands at a step may be another
        if not steps or steps == before:
            return False
        tensors = select_tensors(description, self.settings.include, self.settings.exclude)
        known = self._grams if before and steps[: len(before)] == before else {}
        self._grams = grown_grams(run, tensors, known)
        self.analysis = Analysis(description, self._grams, self.settings)
        return True


def _every(snapshots: int) -> int:
    """Return the power of 2 by which so many snapshots are divided so as not to be too many."""
    every = 1
    while snapshots > every * MOST_FOLLOWED:
        every *= 2
    return every
