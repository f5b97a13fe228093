"""Add up squared distances and coordinates over all blocks of weights, in the second pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from koopscope._types import Float64
from koopscope.forecasting.acceptance import accepted
from koopscope.forecasting.backtest import FORECAST, Backtest
from koopscope.forecasting.baselines import BASELINES
from koopscope.forecasting.operators import BlockForecast
from koopscope.forecasting.plan import ForecastPlan, ForecastSettings
from koopscope.forecasting.projection import Plane
from koopscope.forecasting.results import LayerForecast
from koopscope.runs.names import layer_of
from koopscope.runs.run import TensorInfo
from koopscope.spectra.gram import SnapshotGram

#: Points at which the way ahead is drawn.
_POINTS = 12


class Tally:
    """Sums over the blocks of one forecast.

    Attributes
    ----------
    reaches
        By origin: the horizons that are forecast from there, in row intervals. From the last row
        on, points of the way and, last of them, the target.
    """

    def __init__(self, plan: ForecastPlan, settings: ForecastSettings, plane: Plane) -> None:
        self._plan, self._settings, self._plane = plan, settings, plane
        self._horizons = plan.horizons()
        self._origins = plan.origins()
        farthest = plan.horizon or float(max(self._horizons, default=1))
        self.reaches: dict[int, tuple[float, ...]] = {
            origin: tuple(float(k) for k in self._horizons if origin + k <= plan.last)
            for origin in self._origins
        }
        self.reaches[plan.last] = tuple(farthest * np.arange(1, _POINTS + 1) / _POINTS)
        columns = plane.directions.shape[1]
        self._squares = {origin: np.zeros(len(reach)) for origin, reach in self.reaches.items()}
        self._places = {
            origin: np.zeros((len(reach), columns)) for origin, reach in self.reaches.items()
        }
        self._actual_square = 0.0
        self._layers: dict[str, tuple[int, float, int]] = {}

    def add(
        self,
        tensor: TensorInfo,
        values: Float64,
        carrier: BlockForecast,
        start: int,
    ) -> Float64:
        """Carry a block of weights [T, n] on; return the predicted ones, float64 [n]."""
        plan = self._plan
        increments = np.diff(values, axis=0)
        directions = self._plane.directions.T @ increments
        for origin, reach in self.reaches.items():
            window = increments[origin + 1 - plan.fitted : origin]
            moved = carrier.displacement(window, start, origin)
            if self._settings.accept != "none":
                self._keep_accepted(moved, increments[origin - 1], reach)
            self._places[origin] += moved @ directions.T
            if origin < plan.last:
                for column, (displacement, k) in enumerate(zip(moved, reach, strict=True)):
                    off = displacement - (values[origin + int(k)] - values[origin])
                    self._squares[origin][column] += off @ off
        target = moved[-1]  # the last row's reach comes last, and the target last in it
        self._count(tensor, target, values)
        predicted: Float64 = values[plan.last] + target
        return predicted

    def _keep_accepted(self, moved: Float64, last: Float64, reach: tuple[float, ...]) -> None:
        for displacement, horizon in zip(moved, reach, strict=True):
            displacement[~accepted(self._settings.accept, displacement, last, horizon)] = 0.0

    def _count(self, tensor: TensorInfo, target: Float64, values: Float64) -> None:
        size, square, jumping = self._layers.get(tensor.layer, (0, 0.0, 0))
        self._layers[tensor.layer] = (
            size + len(target),
            square + float(target @ target),
            jumping + int(np.count_nonzero(target)),
        )
        row = self._target_row()
        if row is not None:
            off = values[self._plan.last] + target - values[row]
            self._actual_square += float(off @ off)

    def _target_row(self) -> int | None:
        """Return the later row that shows what came at the target, if the run went on to it."""
        plan = self._plan
        if plan.target is None:
            return None
        rows = np.flatnonzero(plan.steps == plan.target)
        return int(rows[0]) if len(rows) else None

    def backtest(self, gram: SnapshotGram) -> Backtest:
        """Return the test; what is the same for all weights needs only their inner products."""
        shape = (len(self._origins), len(self._horizons))
        moved = np.full(shape, np.nan)
        errors = {name: np.full(shape, np.nan) for name in (FORECAST, *BASELINES)}
        for o, origin in enumerate(self._origins):
            reach = self.reaches[origin]
            window = slice(origin + 1 - self._plan.fitted, origin)
            count = window.stop - window.start
            distances = {FORECAST: self._squares[origin]}
            came = _came(gram, origin, reach)
            lengths = np.einsum("sk,st,tk->k", came, gram.increments, came)
            for name, baseline in BASELINES.items():
                off = -came
                off[window] += baseline(count, reach)
                distances[name] = np.einsum("sk,st,tk->k", off, gram.increments, off)
            moved[o, : len(reach)] = np.sqrt(np.maximum(lengths, 0.0))
            with np.errstate(divide="ignore", invalid="ignore"):
                for name, squares in distances.items():
                    errors[name][o, : len(reach)] = np.sqrt(np.maximum(squares, 0.0) / lengths)
        moved[moved == 0.0] = np.nan  # there is no telling right from wrong where nothing moves
        for values in errors.values():
            values[np.isnan(moved)] = np.nan
        return Backtest(
            np.array(self._origins, np.int64),
            np.array(self._horizons, np.int64),
            moved,
            errors,
            self._settings.max_error,
        )

    def actual(self, gram: SnapshotGram) -> float | None:
        """Return the forecast's distance from what came at the target, relative to no change."""
        row, last = self._target_row(), self._plan.last
        if row is None:
            return None
        square = float(gram.increments[last:row, last:row].sum())
        return float(np.sqrt(self._actual_square / square)) if square > 0.0 else None

    def layers(self, grams: Mapping[str, SnapshotGram]) -> Iterator[LayerForecast]:
        """Yield what is forecast for each layer, in model order."""
        window = self._plan.window(self._plan.last)
        travelled: dict[str, float] = {}
        for name, gram in grams.items():
            layer = layer_of(name)
            inside = gram.window(window.start, window.stop).displacement()
            travelled[layer] = float(np.hypot(travelled.get(layer, 0.0), inside))
        for layer, (size, square, jumping) in self._layers.items():
            yield LayerForecast(layer, size, float(np.sqrt(square)), travelled[layer], jumping)

    @property
    def plane(self) -> Plane:
        """The plane with the forecasts in it."""
        from_last = self._plane.trajectory
        return replace(
            self._plane,
            past={
                origin: (self.reaches[origin], from_last[origin] + self._places[origin])
                for origin in self._origins
            },
            ahead=(self.reaches[self._plan.last], self._places[self._plan.last]),
        )


def _came(gram: SnapshotGram, origin: int, reach: tuple[float, ...]) -> Float64:
    """Return float64 [T-1, h]: the true displacements as sums of increments."""
    came = np.zeros((len(gram.increments), len(reach)))
    for column, k in enumerate(reach):
        came[origin : origin + int(k), column] = 1.0
    return came
