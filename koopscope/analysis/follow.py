"""Follow a run that another process is recording: look again, and take up what was added.

Each new snapshot costs one row of the Gram matrix. It never waits, and never locks the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine.extend import grown_grams
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run, select_tensors
from koopscope.spectra.gram import SnapshotGram


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
        Of the run as it was at the last look, ``None`` before the first snapshot.
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
        self._grams: Mapping[str, SnapshotGram] = {}

    def look(self) -> bool:
        """Read what was recorded since the last look; return whether there was anything.

        Raises
        ------
        KoopscopeError
            If the run does not exist yet, or cannot be read at this moment.
        """
        with self._opened(self.path) as run:
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
