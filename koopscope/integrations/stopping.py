"""Ask the convergence diagnostic again after each snapshot of a run that is being recorded.

The same question, from the same file, as ``koopscope analyze`` asks afterwards; each new snapshot
costs one row of the Gram matrix. It must never let an error of its own end a training.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from koopscope.analysis import Analysis, Settings
from koopscope.diagnostics import convergence
from koopscope.diagnostics.finding import Finding
from koopscope.engine.growing import grown_grams
from koopscope.runs.runfile import RunFile
from koopscope.spectra.gram import SnapshotGram


class ConvergenceWatch:
    """The verdict on a growing run.

    Parameters
    ----------
    path
        The run file that the same training records.

    Attributes
    ----------
    finding
        The last answer, ``None`` before the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.finding: Finding | None = None
        self._grams: Mapping[str, SnapshotGram] = {}
        self._warned = False

    def stop_step(self) -> int | None:
        """Return the step at which training could have stopped, ``None`` as long as there is none.

        Looks at the snapshots that were added since it was asked last.
        """
        try:
            with RunFile(self.path) as run:
                description = run.description
                self._grams = grown_grams(run, description.tensors, self._grams)
            analysis = Analysis(description, self._grams, Settings())
            self.finding = convergence.DIAGNOSTIC.ask(analysis)
        except Exception as error:  # a verdict is not worth a training run
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"convergence of {self.path} is not known: {error}",
                    RuntimeWarning,
                    stacklevel=3,
                )
            return None
        step = self.finding.evidence.get("stop_step")
        return int(step) if step is not None else None
