"""Ask the convergence diagnostic again after each snapshot of a run that is being recorded.

The same question, of the same file, as ``koopscope analyze`` asks afterwards; each new snapshot
costs one row of the Gram matrix. An error of its own becomes a warning and never ends a training.
"""

from __future__ import annotations

from pathlib import Path

from koopscope import messages
from koopscope._threads import product_threads
from koopscope.analysis.follow import Follower
from koopscope.diagnostics import convergence
from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.finding import Finding


class ConvergenceWatch:
    """The verdict on a growing run.

    Parameters
    ----------
    path
        The run file that the same training records.
    follower
        Reads it; one that several questions share reads it once.

    Attributes
    ----------
    path
        The run file.
    finding
        The last answer, ``None`` before the first.
    """

    def __init__(self, path: Path, follower: Follower | None = None) -> None:
        self.path = path
        self.finding: Finding | None = None
        self._follower = follower or Follower(path)
        self._warned = False

    @product_threads(1)
    def stop_step(self) -> int | None:
        """Return the step at which training could have stopped, ``None`` as long as there is none.

        Looks at the snapshots that were added since it was asked last.
        """
        try:
            self._follower.look()
            if self._follower.analysis is None:
                return None
            self.finding = convergence.DIAGNOSTIC.ask(self._follower.analysis)
        except Exception as error:  # a verdict is not worth a training run
            if not self._warned:
                self._warned = True
                messages.warn(f"convergence of {self.path} is not known: {error}")
            return None
        evidence = self.finding.evidence
        return evidence.stop_step if isinstance(evidence, ConvergenceEvidence) else None
