"""The rows that verdicts are fitted to: statistics of a run at a snapshot, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from koopscope.diagnostics.convergence import LEAST_SNAPSHOTS
from koopscope.diagnostics.statistics import rates
from koopscope.diagnostics.statistics.editions import Edition
from koopscope.diagnostics.statistics.start import (
    Beginning,
    beginning_of,
    snapshots_of_beginning,
)
from koopscope.diagnostics.statistics.stopping import GAIN_FLOOR
from koopscope.diagnostics.statistics.trajectory import Course, course_of
from studies.boosting import equal_say
from studies.corpus import Case
from studies.labels import UNCLEAR, state_at

#: Ends of the shorter runs that a run also stands for, as shares of its snapshots, and their say.
EARLIER = (0.3, 0.4, 0.5, 0.5625, 0.625, 0.6875, 0.75, 0.8125, 0.875, 0.9375)
SAY_OF_EARLIER = 0.2

#: What a label close to its border has to say.
SAY_OF_UNCLEAR = 0.4


#: Statistics of a learning rate that was not recorded.
_NO_RATE = {f"rate_{name}": float(v[-1]) for name, v in rates.course(None, 2).items()}


@dataclass
class Rows:
    """Statistics by name [rows], of which run, family and snapshot each row is, with its say."""

    values: list[dict[str, float]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    says: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    scored: list[bool] = field(default_factory=list)
    at: list[int] = field(default_factory=list)

    def table(self, columns: Sequence[str]) -> np.ndarray:
        """Return [rows, columns]; what was not recorded is NaN."""
        return np.array([[row.get(name, np.nan) for name in columns] for row in self.values])

    def as_if_no_rate(self) -> Rows:
        """Return the rows as if no learning rate had been recorded."""
        return replace(self, values=[{**row, **_NO_RATE} for row in self.values])

    def and_(self, other: Rows) -> Rows:
        """Return these rows and others after them."""
        return Rows(
            **{
                each.name: [*getattr(self, each.name), *getattr(other, each.name)]
                for each in fields(self)
            }
        )

    @property
    def statistics(self) -> list[str]:
        """The names of all statistics."""
        return list(max(self.values, key=len))

    @property
    def weight(self) -> np.ndarray:
        """The say of each row; every family has as much as the others."""
        return equal_say(self.families, np.array(self.says))


def courses_of(cases: Iterable[Case]) -> dict[str, Course]:
    """Return the statistics of every run that has as many snapshots as a verdict takes."""
    return {
        case.name: course_of(case.analysis)
        for case in cases
        if case.analysis.finite_tensors and case.analysis.window.snapshots >= LEAST_SNAPSHOTS
    }


def columns_of(edition: Edition, names: Iterable[str]) -> list[str]:
    """Return the statistics that an edition may look at."""
    hidden = tuple(
        prefix
        for prefix, seen in (("loss_", edition.training), ("val_", edition.validation))
        if not seen
    )
    return [name for name in names if not name.startswith(hidden or ("\0",))]


def stop_rows(cases: Sequence[Case], courses: dict[str, Course], earliest: int) -> Rows:
    """Return snapshots with log(how much better than ever the validation loss still becomes).

    Of a long run every second or third is left out.
    """
    rows = Rows()
    for case in cases:
        course = courses[case.name]
        first, stop = case.analysis.window.first, case.analysis.window.stop
        val = case.truth.val_loss[first:stop]
        scale = val[0] - val.min()
        if not np.isfinite(val).all() or scale <= 0.0:
            continue
        to_come = np.minimum.accumulate(val) - np.minimum.accumulate(val[::-1])[::-1]
        everything = course.all()
        inside = range(earliest, len(val) - 1, max(1, len(val) // 40))
        for t in inside:
            rows.values.append({name: float(values[t]) for name, values in everything.items()})
            rows.at.append(t)
            rows.targets.append(float(np.log(max(to_come[t], 0.0) / scale + GAIN_FLOOR)))
            rows.names.append(case.name)
            rows.families.append(case.family)
            rows.says.append(1.0 / len(inside))
    return rows


def state_rows(cases: Sequence[Case], courses: dict[str, Course]) -> Rows:
    """Return the run at several ends: training on for as long again is known for each."""
    rows = Rows()
    for case in cases:
        course = courses[case.name]
        first, count = case.analysis.window.first, case.analysis.window.snapshots
        everything = course.all()
        ends = {max(LEAST_SNAPSHOTS - 1, int(share * count)) for share in EARLIER}
        for end in sorted(ends | {count - 1}):
            if first + end >= case.outcome["snapshots"]:
                continue
            states = [
                state_at(case.outcome, first + end, case.best_train, factor)
                for factor in (1.0, UNCLEAR, 1.0 / UNCLEAR)
            ]
            unclear, last = len(set(states)) > 1, end == count - 1
            rows.values.append({name: float(values[end]) for name, values in everything.items()})
            rows.labels.append(states[0])
            rows.names.append(case.name)
            rows.families.append(case.family)
            say = 1.0 if last else SAY_OF_EARLIER
            rows.says.append(say * (SAY_OF_UNCLEAR if unclear else 1.0))
            rows.scored.append(last and not unclear)
    return rows


def beginnings_of(cases: Sequence[Case]) -> dict[str, list[Beginning]]:
    """Return the statistics of the beginning, and of beginnings that are a little longer."""
    found = {}
    for case in cases:
        window = case.analysis.window
        count = snapshots_of_beginning(case.analysis.description.snapshots)
        some = []
        if window.first == 0:
            for snapshots in (count, count + 1, count + 2):
                if window.snapshots >= snapshots:
                    beginning = beginning_of(case.analysis, snapshots)
                    if beginning is not None:
                        some.append(beginning)
        if some:
            found[case.name] = some
    return found


def start_rows(cases: Sequence[Case], beginnings: dict[str, list[Beginning]]) -> Rows:
    """Return each beginning and whether the run should have been restarted."""
    rows = Rows()
    for case in cases:
        some = beginnings.get(case.name, [])
        for index, beginning in enumerate(some):
            rows.values.append(beginning.all())
            rows.labels.append("bad" if case.truth.bad else "good")
            rows.names.append(case.name)
            rows.families.append(case.family)
            say = SAY_OF_UNCLEAR if case.truth.bad_unclear else 1.0
            rows.says.append(say / len(some))
            rows.scored.append(index == 0)
    return rows
