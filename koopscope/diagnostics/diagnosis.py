"""All findings on one run, next to the analysis they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from koopscope._threads import product_threads
from koopscope._views import shown
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from typing_extensions import Unpack


#: What ``Diagnosis.plot`` can draw.
Panel = Literal["loss", "layers", "spectrum", "ahead"]


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

    def to_dict(self) -> dict[str, Any]:
        """Return what ``koopscope analyze --format json`` writes of this run.

        Keys and order are those of the JSON report; float64 arrays (``singular_values`` [m], one
        for each spectrum) stay NumPy arrays, and a number that is not finite stays NaN or inf.
        """
        content: dict[str, Any] = shown(self, "to_dict")(self)
        return content

    def to_frame(self) -> DataFrame:
        """Return one row for each finding, in the registry's order.

        Columns: code, finding, status, value and threshold (in ``unit``), unit, message, do.

        Raises
        ------
        KoopscopeError
            If pandas is not installed.
        """
        rows: DataFrame = shown(self, "to_frame")(self)
        return rows

    def plot(self, panel: Panel = "loss", *, ax: Axes | None = None) -> Axes:
        """Draw one panel of the summary, and return its axes.

        Parameters
        ----------
        panel
            ``loss``: the recorded losses over optimizer steps, with the stop, the best weights,
            spikes and a plateau. ``layers``: the speed of each layer over time, relative to its
            fastest. ``spectrum``: the network's eigenvalues per snapshot in the unit circle, with
            90% intervals of the larger ones. ``ahead``: the improvement still ahead, in percent.
        ax
            Where to draw; on new axes if not given.

        Raises
        ------
        KoopscopeError
            If there is no such panel.
        """
        axes: Axes = shown(self, "plot")(self, panel, ax)
        return axes

    def figure(
        self,
        name: str = "summary",
        *,
        size: Literal["two-column", "one-column"] = "two-column",
        file: str | PathLike[str] | None = None,
    ) -> Figure:
        """Draw one of the figures that ``koopscope analyze --plots`` writes, and return it.

        Parameters
        ----------
        name
            ``summary``, ``layers``, ``eigenvalues``, ``singular_values``, ``windows``,
            ``convergence``, ``beginning`` or ``motion``.
        size
            7 inches wide, or 3.35 for one column of a page.
        file
            Write it there as well: a .pdf or .svg for papers, or a .png. A file that exists is
            replaced.

        Raises
        ------
        KoopscopeError
            If there is no such figure, size or format.
        """
        whole: Figure = shown(self, "figure")(self, name, size, file)
        return whole

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
