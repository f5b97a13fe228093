"""All findings on one run, next to the analysis they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, TypedDict

from koopscope._threads import product_threads
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import NETWORK, Level, Scope
from koopscope.analysis.settings import Method, Settings
from koopscope.analysis.summary import Summary, summarize
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.registry import diagnostics_for
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.views.progression import evenly_spaced
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable
from koopscope.spectra.measured import Measurement
from koopscope.spectra.noise import NoiseFilter
from koopscope.spectra.rank import AUTO, RankRule

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Sampling(TypedDict, total=False):
    """How a compressed reading samples: see ``koopscope.engine.sampled.Measuring``."""

    measurement: Measurement
    measurements: int | None
    seed: int
    tolerance: float | None


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

    @cached_property
    def summary(self) -> Summary:
        """What tables show; computed on first use, and not again where more is known already."""
        more: Summary | None = vars(self).get("confident_summary")
        return more or summarize(self.analysis)

    @cached_property
    def confident_summary(self) -> Summary:
        """The same with intervals of every layer and tensor, too; computed on first use."""
        return summarize(self.analysis, confident=True)

    def spectrum(
        self, scope: Scope | str = NETWORK, observable: Observable | None = None
    ) -> Spectrum:
        """Return the spectrum of the network, a layer or a tensor; see ``Analysis.spectrum``."""
        return self.analysis.spectrum(scope, observable)


@product_threads(1)
def diagnose(analysis: Analysis) -> Diagnosis:
    """Ask every registered question of a run."""
    return Diagnosis(
        analysis, tuple(diagnostic.ask(analysis) for diagnostic in diagnostics_for(analysis))
    )


def analyze(
    path: str | PathLike[str],
    *,
    observable: Observable = "increments",
    rank: RankRule = AUTO,
    delay: int = 1,
    window: tuple[int | None, int | None] = (None, None),
    until: int | None = None,
    level: Level = "layer",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    noise_filter: NoiseFilter = "none",
    method: Method = "auto",
    metric: str | None = None,
    **sampling: Unpack[Sampling],
) -> Diagnosis:
    """Read a run and say what there is to say: what ``koopscope analyze`` prints, as data.

    Parameters
    ----------
    path
        A run file, or anything else that ``koopscope.open_run`` opens.
    observable, rank, delay, window, until, level, include, exclude, noise_filter, method, metric
        See ``koopscope.Settings``; a single glob need not be in a list.
    **sampling
        ``measurement``, ``measurements``, ``seed`` and ``tolerance`` of a compressed reading.

    Raises
    ------
    KoopscopeError
        If a setting is unknown, the run cannot be read, or the settings leave nothing of it.
    """
    chosen = Settings.chosen(
        {
            "observable": observable,
            "rank": rank,
            "delay": delay,
            "window": window,
            "until": until,
            "level": level,
            "include": include if isinstance(include, str) else tuple(include),
            "exclude": exclude if isinstance(exclude, str) else tuple(exclude),
            "noise_filter": noise_filter,
            "method": method,
            "metric": metric,
            **sampling,
        }
    )
    with open_run(path) as run:
        return diagnose(Analysis.of(evenly_spaced(run, chosen.asked_steps), chosen))
