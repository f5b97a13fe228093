"""What a diagnostic says: one frozen record per question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from koopscope._views import shown
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import Evidence, plain_form
from koopscope.markup import Markup, element, joined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

Status = Literal["pass", "info", "warn", "fail", "inconclusive"]

#: On which side of a limit a number is worse.
Side = Literal["higher", "lower"]


@dataclass(frozen=True)
class Criterion:
    """What a status was decided by, in words.

    Attributes
    ----------
    expected, found
        What would have passed, and what is there; with units.
    of_value
        Whether it is the finding's own value against its threshold.
    """

    expected: str
    found: str
    of_value: bool = False

    @classmethod
    def number(
        cls, found: float, limit: float, worse: Side, unit: str | None, of_value: bool = False
    ) -> Criterion:
        """Return the words for a number that is worse on one side of a limit."""
        return cls(
            f"{limit_words(limit, worse)}{_unit(unit)}", f"{found:.4g}{_unit(unit)}", of_value
        )


@dataclass(frozen=True)
class Basis:
    """What a finding on a sketched run rests on.

    Attributes
    ----------
    numbers
        Of the sketch, a tensor.
    standard_error
        Of the finding's value, from having sketched and not recorded the weights; ``None`` where
        there is no value.
    agreeing, parts
        How many parts of the sketch give the same status, of how many.
    """

    numbers: int
    standard_error: float | None
    agreeing: int
    parts: int


def limit_words(limit: float, worse: Side) -> str:
    """Return "at most 0.5", or "at least" where lower is worse."""
    return f"at {'least' if worse == 'lower' else 'most'} {limit:.4g}"


def _unit(unit: str | None) -> str:
    return f" {unit}" if unit else ""


#: What to do about too few snapshots; more may come by themselves.
TOO_FEW = "wait for more snapshots if the run is still going; else record more often"


def usable(snapshots: int) -> str:
    """Return "8 usable snapshots are", for a sentence on what they are too few for."""
    return f"{snapshots} usable snapshot" + (" is" if snapshots == 1 else "s are")


@dataclass(frozen=True)
class Finding:
    """The answer to one question about a run.

    Attributes
    ----------
    id
        The question, for example ``convergence``.
    code
        Its stable code, for example ``KS101``.
    status
        ``pass``, ``info``, ``warn``, ``fail``, or ``inconclusive`` when the data cannot tell.
    message
        One sentence in words, with its number.
    value, threshold, unit
        The number the status rests on, what it was held against, and their unit.
    hint
        What the user can do, or ``None``.
    evidence
        What it rests on: the diagnostic's own dataclass, and a mapping with the keys of the JSON
        report, which other programs may rely on.
    criterion
        What the status was decided by, which need not be the value; ``None`` where nothing was.
    action
        The one thing to do about it, for programs; ``Action("none")`` where there is nothing.
    basis
        Of a run of sketches, what the sketch costs; ``None`` where weights were read.
    """

    id: str
    code: str
    status: Status
    message: str
    value: float | None = None
    threshold: float | None = None
    unit: str | None = None
    hint: str | None = None
    evidence: Evidence = field(default_factory=Evidence)
    criterion: Criterion | None = None
    action: Action = field(default_factory=Action)
    basis: Basis | None = None

    def __repr__(self) -> str:
        return f"Finding({self.code} {self.id}: {self.status}, {self.message!r})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was found, and what to do."""
        return joined(self.shown())

    def shown(self) -> tuple[Markup, ...]:
        """Return the finding as paragraphs of HTML."""
        name = element("strong", f"{self.status}: {self.id}")
        lines = [element("p", name, f" ({self.code}) ", self.message)]
        if self.action.line:
            lines.append(element("p", f"Do: {self.action.line}."))
        elif self.hint:
            lines.append(element("p", self.hint))
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return what the JSON report says of the finding, its evidence included."""
        content: dict[str, Any] = shown(self, "to_dict")(self)
        return content

    def to_frame(self) -> DataFrame:
        """Return one row: code, finding, status, value, threshold, unit, message, do.

        Raises
        ------
        KoopscopeError
            If pandas is not installed.
        """
        rows: DataFrame = shown(self, "to_frame")(self)
        return rows

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw what the finding rests on, and return the axes.

        Of convergence: the improvement still ahead over optimizer steps, in percent of all
        improvement, with its 90% interval and the stop. Of every other finding: its value beside
        its threshold, in ``unit``, or its message where it has no value.

        Parameters
        ----------
        ax
            Where to draw; on new axes if not given.
        """
        axes: Axes = shown(self, "plot")(self, ax)
        return axes

    def plain(self) -> dict[str, Any]:
        """Return the finding as JSON has it."""
        return {
            each.name: plain_form(getattr(self, each.name))
            for each in fields(self)
            if each.name != "basis" or self.basis is not None
        }


@dataclass(frozen=True)
class Explanation:
    """A question in the fixed sections that ``koopscope explain`` prints, a few sentences each.

    Attributes
    ----------
    asks
        The question.
    matters
        What it costs not to know the answer.
    looks_at
        The records that it reads and the numbers that decide.
    to_do
        What the user can do about a finding.
    accuracy
        How often it was right where that was measured, or why it needs no measuring.
    cannot_tell
        Where it must not be relied on.
    """

    asks: str
    matters: str
    looks_at: str
    to_do: str
    accuracy: str
    cannot_tell: str


@dataclass(frozen=True)
class Diagnostic:
    """One question that can be asked of every run.

    Attributes
    ----------
    id, code
        As in ``Finding``.
    title
        A few words for tables.
    explanation
        What the finding means, what it rests on, and what it cannot tell.
    ask
        Answers it. Too little data is an answer (``inconclusive``), never an exception.
    worse
        On which side of a threshold a value is worse.
    unit
        Of its values.
    threshold
        That its values are held against; ``None`` where it depends on the run or there is none.
    ask_after
        Answers it with the findings that were made before, by id, where it needs some of them.
    """

    id: str
    code: str
    title: str
    explanation: Explanation
    ask: Callable[[Analysis], Finding]
    worse: Side = "higher"
    unit: str | None = None
    threshold: float | None = None
    ask_after: Callable[[Analysis, Mapping[str, Finding]], Finding] | None = None

    def answer(self, analysis: Analysis, earlier: Mapping[str, Finding]) -> Finding:
        """Answer the question, with the findings that were made before."""
        return self.ask_after(analysis, earlier) if self.ask_after else self.ask(analysis)

    def finding(
        self,
        status: Status,
        message: str,
        evidence: Evidence,
        *,
        value: float | None = None,
        threshold: float | None = None,
        hint: str | None = None,
        criterion: Criterion | None = None,
        action: Action | None = None,
    ) -> Finding:
        """Return an answer; threshold and unit are those of a value, and there is none without.

        The criterion is the value against the threshold, unless another one is given.
        """
        known = value is not None
        threshold = self.threshold if threshold is None else threshold
        if criterion is None and value is not None and threshold is not None:
            criterion = Criterion.number(value, threshold, self.worse, self.unit, of_value=True)
        return Finding(
            self.id,
            self.code,
            status,
            message,
            value=value,
            threshold=threshold if known else None,
            unit=self.unit if known else None,
            hint=hint,
            evidence=evidence,
            criterion=criterion if status != "inconclusive" else None,
            action=action or Action(),
        )
