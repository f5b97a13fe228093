"""What one call of the command has to report: runs that were analysed, and runs that could not be.

Every output format is a function of a ``Report``; none of them decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koopscope.report.envelope import Failure

if TYPE_CHECKING:
    from koopscope.diagnostics.diagnosis import Diagnosis


@dataclass(frozen=True)
class Report:
    """What is to be reported.

    Attributes
    ----------
    diagnoses, failures
        In the order in which the user named the runs.
    sweep
        What the runs say together, as plain JSON values, or ``None``.
    with_spectrum
        Whether text for people shows each network's spectrum, too; JSON always has it.
    """

    diagnoses: tuple[Diagnosis, ...]
    failures: tuple[Failure, ...] = ()
    sweep: Mapping[str, Any] | None = None
    with_spectrum: bool = False

    @property
    def is_single(self) -> bool:
        """Whether the user asked about one run."""
        return len(self.diagnoses) + len(self.failures) == 1
