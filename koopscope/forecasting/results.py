"""What a forecast found, as data: every report and every file is made of this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from koopscope._views import shown
from koopscope.forecasting.backtest import BETTER, FEWEST_ORIGINS, FORECAST, Backtest
from koopscope.forecasting.operators import Growth
from koopscope.forecasting.plan import ForecastPlan, ForecastSettings
from koopscope.forecasting.projection import Plane
from koopscope.markup import element
from koopscope.runs.run import RunDescription

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

#: What ``Forecast.plot`` can draw.
Panel = Literal["errors", "coordinate-1", "coordinate-2"]


@dataclass(frozen=True)
class LayerForecast:
    """What is forecast for the weights of one layer.

    Attributes
    ----------
    name, parameters
        The layer, and how many of its weights are forecast.
    displacement
        Predicted distance from the last weights.
    travelled
        Distance between the ends of the window, what it is to be compared with.
    accepted
        How many weights jump.
    """

    name: str
    parameters: int
    displacement: float
    travelled: float
    accepted: int


@dataclass(frozen=True)
class Forecast:
    """A forecast and the test of its kind.

    Attributes
    ----------
    description, settings, plan
        The run, what was asked for, and what was looked at.
    backtest
        Forecasts from the run's past against what came.
    layers
        In model order; empty without a target.
    actual
        Where the run went on to the target: the distance of the forecast from what came, relative
        to no change.
    growth
        What of the forecast grows.
    plane
        The trajectory, the forecast and past forecasts in two leading coordinates.
    notes
        What a reader of the numbers should know.
    """

    description: RunDescription
    settings: ForecastSettings
    plan: ForecastPlan
    backtest: Backtest
    layers: tuple[LayerForecast, ...]
    actual: float | None
    growth: Growth
    plane: Plane
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Forecast({self.description.path!r}: {self.verdict})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the verdict."""
        return element("p", element("strong", self.description.path), f": {self.verdict}.")

    def to_dict(self) -> dict[str, Any]:
        """Return what ``koopscope forecast --format json`` writes, with NaN as it is."""
        content: dict[str, Any] = shown(self, "to_dict")(self)
        return content

    def to_frame(self) -> DataFrame:
        """Return one row for each tested horizon and kind of forecast.

        Columns: steps (ahead), horizon (in intervals of the plan), tested (past moments), kind,
        and its errors relative to no change: median, low and high (80% of them), better (share).

        Raises
        ------
        KoopscopeError
            If pandas is not installed.
        """
        rows: DataFrame = shown(self, "to_frame")(self)
        return rows

    def plot(self, panel: Panel = "errors", *, ax: Axes | None = None) -> Axes:
        """Draw how past forecasts did, or where the weights are heading; return the axes.

        Parameters
        ----------
        panel
            ``errors``: of past forecasts over the steps ahead, relative to no change, with the
            baselines. ``coordinate-1``, ``coordinate-2``: a leading coordinate of the weights over
            optimizer steps, recorded and forecast, in the weights' own units.
        ax
            Where to draw; on new axes if not given.

        Raises
        ------
        KoopscopeError
            If there is no such panel.
        """
        axes: Axes = shown(self, "plot")(self, panel, ax)
        return axes

    @property
    def seen(self) -> ForecastPlan:
        """The earlier name of ``plan``."""
        return self.plan

    @property
    def trusted_step(self) -> int | None:
        """The last step that forecasts of this run can be trusted for; ``None`` if none can."""
        reach = self.backtest.reach(self.plan.shortest)
        if not reach:
            return None
        return int(self.plan.steps[self.plan.last] + reach * self.plan.spacing_steps)

    @property
    def target_index(self) -> int | None:
        """Where the target's own horizon stands among the tested ones; ``None`` if it was not."""
        rows = np.flatnonzero(self.backtest.horizons == np.ceil(self.plan.horizon))
        return int(rows[0]) if self.plan.target is not None and len(rows) else None

    @property
    def is_trusted(self) -> bool:
        """Whether forecasts as far as the target, and shorter ones, were good in the past."""
        index = self.target_index
        if index is None:
            return False
        shortest = min(self.plan.shortest, int(self.backtest.horizons[index]))
        return self.backtest.reach(shortest) >= int(self.backtest.horizons[index])

    @property
    def verdict(self) -> str:
        """One sentence on how far ahead forecasts of this run can be trusted."""
        test, index = self.backtest, self.target_index
        if not any(test.tested(k) >= FEWEST_ORIGINS for k in range(len(test.horizons))):
            return "Cannot tell how far forecasts can be trusted: the run is too short to test them"
        step = self.trusted_step
        if step is None and index is not None and self.is_trusted:
            past = self._past(index)
            return f"Step {self.plan.target:,} can be trusted, no far later one: {past}"
        if step is None:
            first = int(np.searchsorted(test.horizons, self.plan.shortest))
            return f"Forecasts of this run cannot be trusted: {self._past(first)}"
        if self.plan.target is None or self.is_trusted:
            return f"Forecasts can be trusted up to step {step:,}: {self._past(self._at(step))}"
        if index is None or not test.passes(index):
            why = "no past moment tests it" if index is None else self._past(index)
            return f"Step {self.plan.target:,} is farther than can be trusted: {why}"
        return f"Step {self.plan.target:,} lies beyond step {step:,}, the last one to be trusted"

    def _at(self, step: int) -> int:
        reach = (step - int(self.plan.steps[self.plan.last])) / self.plan.spacing_steps
        return int(np.searchsorted(self.backtest.horizons, round(reach)))

    def _past(self, index: int) -> str:
        score = (
            self.backtest.score(FORECAST, index) if index < len(self.backtest.horizons) else None
        )
        if score is None:
            return "no past moment tests them"
        tested = self.backtest.tested(index)
        if tested < FEWEST_ORIGINS:
            return (
                "only 1 past moment tests it"
                if tested == 1
                else f"only {tested} past moments test it"
            )
        ahead = int(self.backtest.horizons[index]) * self.plan.every
        nearer = round(score.better * tested)
        useless = ""
        if score.median > self.backtest.max_error and score.better >= BETTER:
            useless = f", and an error above {self.backtest.max_error:g} is not worth having"
        return (
            f"{ahead} snapshot{'' if ahead == 1 else 's'} ahead, past forecasts had "
            f"{score.median:.2f} times the error of assuming no change (median), and {nearer} of "
            f"{tested} were nearer to the truth{useless}"
        )
