"""All findings on one run, next to the analysis they rest on."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

from koopscope._threads import product_threads
from koopscope.analysis.analysis import NETWORK, Analysis, Settings
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.registry import diagnostics_for
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable


@dataclass(frozen=True)
class Diagnosis:
    """What koopscope has to say about one run.

    Attributes
    ----------
    analysis
        Gram matrices, window and spectra.
    findings
        One per registered diagnostic, in the registry's order.
    """

    analysis: Analysis
    findings: tuple[Finding, ...]

    def finding(self, name: str) -> Finding:
        """Return the finding with this id or code.

        Raises
        ------
        KoopscopeError
            If nothing by that name is asked.
        """
        for finding in self.findings:
            if name in (finding.id, finding.code):
                return finding
        known = ", ".join(finding.id for finding in self.findings)
        raise KoopscopeError(f"there is no finding {name!r}", f"there are: {known}")

    def spectrum(self, scope: str = NETWORK, observable: Observable | None = None) -> Spectrum:
        """Return the spectrum of the network, a layer or a tensor; see ``Analysis.spectrum``."""
        return self.analysis.spectrum(scope, observable)


@product_threads(1)
def diagnose(analysis: Analysis) -> Diagnosis:
    """Ask every registered question of a run."""
    return Diagnosis(
        analysis, tuple(diagnostic.ask(analysis) for diagnostic in diagnostics_for(analysis))
    )


def analyze(path: str | PathLike[str], **settings: Any) -> Diagnosis:
    """Read a run and say what there is to say: what ``koopscope analyze`` prints, as data.

    Parameters
    ----------
    path
        A run file.
    **settings
        The fields of ``koopscope.analysis.settings.Settings``, for example
        ``observable="weights"`` or ``rank=10``.

    Raises
    ------
    KoopscopeError
        If a setting is unknown, the run cannot be read, or the settings leave nothing of it.
    """
    chosen = Settings.chosen(settings)
    with open_run(path) as run:
        return diagnose(Analysis.of(run, chosen))
