"""All findings on one run, next to the analysis they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

from koopscope._threads import product_threads
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.groups import Group, analysis_of, groups_of, without_losses
from koopscope.analysis.scope import NETWORK, Level, Scope
from koopscope.analysis.settings import Intervals, Method, Settings
from koopscope.analysis.summary import Summary, summarize
from koopscope.diagnostics.contraction import has_states
from koopscope.diagnostics.finding import Diagnostic, Finding
from koopscope.diagnostics.first_look import FirstLook, first_look
from koopscope.diagnostics.next_step import RECORDING, NextStep, next_step
from koopscope.diagnostics.registry import cannot_tell, diagnostics_for
from koopscope.diagnostics.sketched import on_sketch
from koopscope.diagnostics.statistics.keeping import BestSnapshot, best_snapshot
from koopscope.engine.room import within_memory
from koopscope.errors import KoopscopeError
from koopscope.markup import table
from koopscope.runs.detect.opening import open_run
from koopscope.runs.views.progression import evenly_spaced
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable
from koopscope.spectra.measured import GROUPS, Measurement
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
class Part:
    """One of several networks of a run, judged by itself.

    Attributes
    ----------
    group
        Which tensors it has.
    diagnosis
        What is found on them alone.
    """

    group: Group
    diagnosis: Diagnosis

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "name": self.group.name,
            "recognised": self.group.recognised,
            "tensors": list(self.group.tensors),
            "parameters": sum(each.size for each in self.diagnosis.analysis.tensors),
            "next": self.diagnosis.next.plain(),
            "findings": [finding.plain() for finding in self.diagnosis.findings],
        }


@dataclass(frozen=True)
class Diagnosis:
    """What koopscope has to say about one run.

    Attributes
    ----------
    analysis
        Gram matrices, window and spectra.
    findings
        One per registered diagnostic, in the registry's order.
    parts
        Where the run holds several networks, each one with its own findings.
    """

    analysis: Analysis
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...] = ()

    def __repr__(self) -> str:
        statuses = [finding.status for finding in self.findings]
        counts = [f"{statuses.count(each)} {each}" for each in dict.fromkeys(statuses)]
        return f"Diagnosis({self.analysis.description.path!r}: {', '.join(counts)})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: every finding, and what to do."""
        rows = [
            (each.id, each.status, each.message, each.action.line or each.hint or "")
            for each in self.findings
        ]
        heads = ("finding", "status", "what was seen", "do")
        return table(self.analysis.description.path, heads, rows)

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
    def next(self) -> NextStep:
        """The single most useful thing to do, and which finding says so."""
        return next_step(self.findings)

    @cached_property
    def keep(self) -> BestSnapshot | None:
        """The weights to keep: those of the best validation metric, ``None`` without one.

        When to stop is another question: see the finding ``convergence``.
        """
        return best_snapshot(self.analysis.description, self.analysis.settings.metric)

    @cached_property
    def first_look(self) -> FirstLook:
        """What the findings come to, in a few lines."""
        look = first_look(self.findings, self.next, self.keep, cannot_tell)
        if not self.parts:
            return look
        names = ", ".join(part.group.name for part in self.parts)
        note = f"this run holds several networks ({names}), which are judged apart as well: below"
        if any(part.group.plays for part in self.parts):
            note += "; they play against each other, so their losses decide nothing"
        return replace(look, notes=(note, *look.notes))

    @cached_property
    def summary(self) -> Summary:
        """What reports show beside the findings; computed on first use."""
        return summarize(self.analysis)

    @cached_property
    def summary_of_parts(self) -> Summary:
        """The same without the spectra of the network, which take most of the time."""
        known: Summary | None = vars(self).get("summary")
        return known or summarize(self.analysis, network=False)

    def spectrum(
        self, scope: Scope | str = NETWORK, observable: Observable | None = None
    ) -> Spectrum:
        """Return the spectrum of the network, a layer or a tensor; see ``Analysis.spectrum``."""
        return self.analysis.spectrum(scope, observable)


@product_threads(1)
def diagnose(analysis: Analysis) -> Diagnosis:
    """Ask every registered question of a run."""
    groups = () if has_states(analysis) else groups_of(analysis)
    judged = without_losses(analysis) if any(group.plays for group in groups) else analysis
    parts = tuple(Part(group, _judged_alone(analysis_of(analysis, group))) for group in groups)
    return Diagnosis(analysis, _findings(judged, diagnostics_for(judged)), parts)


def _judged_alone(part: Analysis) -> Diagnosis:
    """Ask of one of several networks what can be asked of it alone: nothing about the recording."""
    asked = [each for each in diagnostics_for(part) if not each.code.startswith(RECORDING)]
    return Diagnosis(part, _findings(part, asked))


def _findings(analysis: Analysis, asked: Sequence[Diagnostic]) -> tuple[Finding, ...]:
    """Return the answers; of a sketch, each with what the sketch costs it."""
    found = _answers(analysis, asked)
    info = analysis.description.sketch
    if info is not None:
        parts = [_answers(analysis.without(group), asked) for group in range(GROUPS)]
        found = {
            name: on_sketch(answer, [part[name] for part in parts], info)
            for name, answer in found.items()
        }
    return tuple(found.values())


def _answers(analysis: Analysis, asked: Sequence[Diagnostic]) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for diagnostic in asked:
        found[diagnostic.id] = diagnostic.answer(analysis, found)
    return found


def analyze(
    path: str | PathLike[str],
    *,
    observable: Observable = "increments",
    rank: RankRule = AUTO,
    delay: int = 1,
    window: tuple[int | None, int | None] = (None, None),
    until: int | None = None,
    level: Level = "layer",
    intervals: Intervals = "network",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    noise_filter: NoiseFilter = "none",
    method: Method = "auto",
    metric: str | None = None,
    groups: str | Sequence[str] = (),
    **sampling: Unpack[Sampling],
) -> Diagnosis:
    """Read a run and say what there is to say: what ``koopscope analyze`` prints, as data.

    Parameters
    ----------
    path
        A run file, or anything else that ``koopscope.open_run`` opens.
    observable, rank, delay, window, until, level, intervals, include, exclude, noise_filter,
    method
        See ``koopscope.Settings``; a single glob need not be in a list.
    metric, groups
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
            "intervals": intervals,
            "include": include if isinstance(include, str) else tuple(include),
            "exclude": exclude if isinstance(exclude, str) else tuple(exclude),
            "noise_filter": noise_filter,
            "method": method,
            "metric": metric,
            "groups": groups if isinstance(groups, str) else tuple(groups),
            **sampling,
        }
    )
    with open_run(path) as run:
        fitting = within_memory(run, chosen.asked_steps)
        return diagnose(Analysis.of(evenly_spaced(fitting, chosen.asked_steps), chosen))
