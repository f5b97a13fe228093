"""What a forecast looks at: which snapshots, how far ahead, and which past moments test it.

Decides by steps alone; reads no weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.forecasting.choices import (
    ACCEPTANCES,
    FEWEST,
    MAX_ERROR,
    OPERATORS,
    RECENT,
    Acceptance,
    Operator,
)
from koopscope.runs.run import RunDescription
from koopscope.spectra.gram import Observable
from koopscope.spectra.law_of_motion import FORECASTABLE
from koopscope.spectra.rank import AUTO, RankRule, check_rank_rule

#: Consecutive increments stacked into one, there and for windows too short to spare any.
DELAY = 2
_LONG_ENOUGH = 8

#: Past moments from which the forecast is tested, at most.
ORIGINS = 12

#: Windows before the last row that are looked at, at most: what lies farther back says little of
#: what comes, and inner products of thousands of snapshots would cost more than all the rest.
LOOKED_BACK = 12

#: Horizons that are tested, in windows.
_HORIZONS = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class ForecastSettings:
    """What is to be forecast, and how.

    Attributes
    ----------
    to, ahead
        The optimizer step, or how many snapshots after the last one; neither: only test how far
        ahead forecasts of this run can be trusted.
    operator
        What has a law of its own: the whole network, every layer, every tensor, or every node (all
        weights and the bias into a unit).
    observable, rank, delay
        See ``koopscope.spectra.law_of_motion``; the delay is 2 where the window allows it.
    accept
        Which weights jump; see ``koopscope.forecasting.acceptance``.
    snapshots
        How many snapshots a law is fitted to at most; of a short run half, so that the rest can
        test it.
    every
        Pool so many neighbouring snapshots into their mean; 0 to choose by the horizon.
    until
        Forecast from the last snapshot at or before this step.
    include, exclude
        Globs on tensor names; what is left out stays as it was last recorded.
    allow_growth
        Extrapolate growing modes.
    max_error
        The largest error, relative to that of assuming no change, that is trusted.
    beyond_trust
        Forecast farther than the test of the past allows.
    """

    to: int | None = None
    ahead: int | None = None
    operator: Operator = "network"
    observable: Observable = "increments"
    rank: RankRule = AUTO
    delay: int | None = None
    accept: Acceptance = "none"
    snapshots: int = RECENT
    every: int = 0
    until: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_growth: bool = False
    beyond_trust: bool = False
    max_error: float = MAX_ERROR

    def __post_init__(self) -> None:
        check_rank_rule(self.rank)
        for what, value, known in (
            ("operator", self.operator, OPERATORS),
            ("observable", self.observable, FORECASTABLE),
            ("acceptance test", self.accept, ACCEPTANCES),
        ):
            if value not in known:
                raise KoopscopeError(
                    f"unknown {what} {value!r}", f"choose one of {', '.join(known)}"
                )
        if self.to is not None and self.ahead is not None:
            raise KoopscopeError(
                "a step and a number of snapshots ahead were both given",
                "give --to or --ahead, not both",
            )
        if self.ahead is not None and self.ahead < 1:
            raise KoopscopeError(
                f"{self.ahead} snapshots ahead is no forecast", "use --ahead 1 or more"
            )
        if self.snapshots < FEWEST:
            raise KoopscopeError(
                f"{self.snapshots} snapshots are too few to fit a law to",
                f"use --snapshots {FEWEST} or more",
            )
        if self.every and (self.every < 0 or self.every % 2 == 0):
            raise KoopscopeError(
                f"snapshots cannot be pooled by {self.every}",
                "use an odd number, so that a pool has a middle",
            )
        if not 0.0 < self.max_error <= 1.0:
            raise KoopscopeError(
                f"an error of {self.max_error} cannot be what makes a forecast worth having",
                "use --max-error above 0 and at most 1, the error of assuming no change",
            )
        if self.delay is not None and self.delay < 1:
            raise KoopscopeError(
                f"a delay of {self.delay} is not possible", "use 1 (no delay) or more"
            )


@dataclass(frozen=True)
class ForecastPlan:
    """The snapshots of a forecast; indices count rows of the evenly spaced stretch looked at.

    Attributes
    ----------
    first, stop
        Where the stretch lies in the run, in recorded snapshots.
    every
        How many of those make one row.
    steps
        int64 [T], of the rows.
    last
        The row that the forecast starts from; later ones show what really came.
    fitted
        Rows that each law is fitted to.
    delay
        Increments stacked into one.
    spacing_steps
        Optimizer steps between two rows.
    target
        The step to forecast; ``None`` where none was asked for.
    """

    first: int
    stop: int
    every: int
    steps: npt.NDArray[np.int64]
    last: int
    fitted: int
    delay: int
    spacing_steps: float
    target: int | None

    @property
    def horizon(self) -> float:
        """Row intervals from the last row to the target; 0 without one."""
        if self.target is None:
            return 0.0
        return float(self.target - self.steps[self.last]) / self.spacing_steps

    @property
    def shortest(self) -> int:
        """Row intervals of the shortest horizon that a verdict on the run rests on."""
        return max(1, round(_HORIZONS[0] * (self.fitted - 1)))

    def window(self, origin: int) -> slice:
        """Return the rows that a law is fitted to which starts from ``origin``."""
        return slice(origin + 1 - self.fitted, origin + 1)

    def horizons(self) -> tuple[int, ...]:
        """Return the tested horizons, in row intervals: parts of a window, and the one asked for.

        None is longer than what at least one past moment can be tested on.
        """
        window = self.fitted - 1
        wanted = {max(1, round(part * window)) for part in _HORIZONS}
        if self.target is not None:
            wanted.add(int(np.ceil(self.horizon)))
        return tuple(k for k in sorted(wanted) if 0 < k <= self.last - window)

    def origins(self) -> tuple[int, ...]:
        """Return the rows that forecasts are tested from, evenly spread, the earliest first."""
        first, latest = self.fitted - 1, self.last - 1
        if latest < first:
            return ()
        spread = np.linspace(first, latest, min(ORIGINS, latest - first + 1))
        return tuple(int(origin) for origin in np.unique(np.round(spread)))


def forecast_plan(description: RunDescription, settings: ForecastSettings) -> ForecastPlan:
    """Choose the snapshots that a forecast looks at.

    Raises
    ------
    KoopscopeError
        If no or too few evenly spaced snapshots lie before the step, or the target is not after it.
    """
    steps = description.steps
    end = _end(description, settings.until)
    first, stop = _even_stretch(steps, end)
    if end + 1 - first < FEWEST:
        _refuse_few(steps, first, end)
    spacing = int(steps[end] - steps[end - 1])
    target = settings.to
    if settings.ahead is not None:
        target = int(steps[end]) + settings.ahead * spacing
    if target is not None and target <= steps[end]:
        raise KoopscopeError(
            f"step {target} does not lie after step {steps[end]}, the last one looked at",
            "forecast a later step with --to, or start earlier with --until",
        )
    ahead = 0.0 if target is None else float(target - steps[end]) / spacing
    every = settings.every or _pooling(end + 1 - first, ahead, settings.snapshots)
    before, after = (end + 1 - first) // every, (stop - end - 1) // every
    fitted = min(settings.snapshots, max(FEWEST, before // 2))
    if before < FEWEST:
        raise KoopscopeError(
            f"{end + 1 - first} snapshots make {before} means of {every}, too few to fit a law to",
            f"pool fewer with --every; it takes {FEWEST} means",
        )
    reach = int(np.ceil(ahead / every)) + 1
    before = min(before, LOOKED_BACK * max(fitted, reach))
    after = min(after, max(fitted, reach))
    begin = end + 1 - before * every
    middles = steps[begin + every // 2 : end + 1 + after * every : every]
    delay = settings.delay or (DELAY if fitted >= _LONG_ENOUGH else 1)
    return ForecastPlan(
        first=begin,
        stop=end + 1 + after * every,
        every=every,
        steps=middles,
        last=before - 1,
        fitted=fitted,
        delay=delay,
        spacing_steps=float(spacing * every),
        target=target,
    )


def _end(description: RunDescription, until: int | None) -> int:
    steps = description.steps
    if not len(steps):
        raise KoopscopeError(
            f"{description.path} holds no snapshot",
            "record at least one with Recorder.snapshot()",
        )
    end = len(steps) - 1 if until is None else int(np.searchsorted(steps, until, side="right")) - 1
    if end < 0:
        raise KoopscopeError(
            f"no snapshot lies at or before step {until}",
            f"the run holds steps {steps[0]} to {steps[-1]}",
        )
    return end


def _even_stretch(steps: npt.NDArray[np.int64], end: int) -> tuple[int, int]:
    """Return the evenly spaced rows ``[first, stop)`` around the gap that ends at ``end``."""
    first, stop = end, end + 1
    gap = steps[end] - steps[end - 1] if end else 0
    while first and steps[first] - steps[first - 1] == gap:
        first -= 1
    while stop < len(steps) and steps[stop] - steps[stop - 1] == gap:
        stop += 1
    return first, stop


def _refuse_few(steps: npt.NDArray[np.int64], first: int, end: int) -> None:
    count = end + 1 - first
    if first:
        raise KoopscopeError(
            f"only the last {count} snapshots up to step {steps[end]} are evenly spaced, "
            "too few to fit a law to",
            f"it takes {FEWEST}; start from an earlier step with --until",
        )
    raise KoopscopeError(
        f"{count} snapshot{' is' if count == 1 else 's are'} too few to fit a law to",
        f"it takes {FEWEST}, and about {2 * RECENT} to test how far ahead a forecast can be "
        "trusted; record more often",
    )


def _pooling(available: int, ahead: float, snapshots: int) -> int:
    """Return how many snapshots to pool: so many that the horizon is half a window, if there are.

    As many windows as the horizon is long must be left to test it on; 1 where there are not.
    """
    wanted = int(2.0 * ahead / snapshots)
    affordable = int((available - ahead) / (snapshots + 2))
    every = max(1, min(wanted, affordable))
    return every - 1 + every % 2
