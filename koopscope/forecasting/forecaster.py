"""Forecast a recorded run: one pass for its laws, a second that carries its weights on.

The second pass makes predicted weights and tests the same forecast on the run's own past, block by
block. At most one block of the run is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from koopscope._threads import product_threads
from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine.source import ProgressListener
from koopscope.engine.store import SomeGrams
from koopscope.errors import KoopscopeError
from koopscope.forecasting.operators import BlockForecast, Growth, Laws, law_groups
from koopscope.forecasting.plan import ForecastPlan, ForecastSettings, forecast_plan
from koopscope.forecasting.projection import leading_plane
from koopscope.forecasting.results import Forecast
from koopscope.forecasting.second_pass import Tally
from koopscope.runs.run import Block, Run, TensorInfo
from koopscope.runs.views.averaged import PooledRun
from koopscope.spectra.accumulating import SPAN
from koopscope.spectra.gram import SnapshotGram, total

#: Takes predicted weights in order: the tensor, and the next of its flattened values in float64.
Sink = Callable[[TensorInfo, Float64], None]


class Forecaster:
    """Reads a run once, then carries it on.

    Parameters
    ----------
    run
        Open for as long as this is used.
    settings
        What to forecast.
    on_progress
        Called with the bytes of every block, in both passes.

    Raises
    ------
    KoopscopeError
        If the run cannot be read, too little of it can be used, or the forecast would rest on
        growing modes and that is not allowed.
    """

    @product_threads(1)
    def __init__(
        self, run: Run, settings: ForecastSettings, on_progress: ProgressListener | None = None
    ) -> None:
        self.settings = settings
        self.description = run.description
        plan = forecast_plan(run.description, settings)
        self._listener = on_progress
        self.run = run
        if plan.every > 1 or 2 * len(plan.steps) < run.description.snapshots:
            self.run = PooledRun(run, plan.every, plan.first, plan.stop)
            plan = replace(plan, first=0, stop=len(plan.steps))
        analysis = Analysis.of(
            self.run,
            Settings(method="exact", include=settings.include, exclude=settings.exclude),
            on_progress,
        )
        self._tensors = tuple(t for t in analysis.finite_tensors if t.kind != "buffer")
        if not self._tensors:
            raise KoopscopeError(
                f"no parameter of {run.description.path} can be forecast",
                "buffers are kept as recorded; choose parameters with --include",
            )
        for tensor in self._tensors:
            if tensor.is_complex:
                raise KoopscopeError(
                    f"{tensor.name} holds {tensor.dtype} weights, which cannot be forecast",
                    "leave it out with --exclude: it is then kept as recorded",
                )
        names = [tensor.name for tensor in self._tensors]
        finite = np.logical_and.reduce([analysis.grams[name].finite for name in names])
        self.plan = _finite_part(plan, finite)
        self._grams = SomeGrams(analysis.grams, names, (self.plan.first, self.plan.stop))

    @product_threads(1)
    def forecast(self, sink: Sink | None = None) -> Forecast:
        """Carry the run on and test it; give the predicted weights of every tensor to ``sink``.

        Raises
        ------
        KoopscopeError
            If the forecast rests on growth, or reaches beyond what can be trusted, and that was not
            allowed; ``sink`` may have been given weights by then.
        """
        plan, settings = self.plan, self.settings
        network = total(self._grams.values())
        plane = leading_plane(network, plan)
        tally = Tally(plan, settings, plane)
        laws = Laws(self.run, plan, settings, tally.reaches, self._grams)
        groups = law_groups(self._tensors, settings.operator)
        waiting = {tensor.name: group for group in groups for tensor in group.tensors}
        carriers: dict[str, BlockForecast] = {}
        growth = Growth()
        if settings.operator != "node":  # all laws come before the pass, and so does a refusal
            for group in groups:
                fitted = laws.fitted(group)
                growth += fitted.growth
                carriers |= fitted.carriers
            self._refuse_growth(growth)
        for tensor in self.run.description.tensors:
            if tensor.name in waiting and tensor.name not in carriers:
                fitted = laws.fitted(waiting[tensor.name])
                growth += fitted.growth
                carriers |= fitted.carriers
            carrier = carriers.pop(tensor.name, None)
            for block in self.run.blocks([tensor]):
                predicted = self._block(block, carrier, tally)
                if sink is not None:
                    sink(tensor, predicted)
                if self._listener is not None:
                    self._listener(block.values.nbytes)
        self._refuse_growth(growth)  # of nodes, whose laws are fitted on the way
        made = self._result(growth, tally, network)
        if plan.target is not None and not made.is_trusted and not settings.beyond_trust:
            raise KoopscopeError(
                made.verdict[:1].lower() + made.verdict[1:],
                "leave the step out to see the whole test, or pass --beyond-trust",
            )
        return made

    def _block(self, block: Block, carrier: BlockForecast | None, tally: Tally) -> Float64:
        """Return the weights of a block as they are predicted; as they are, without a carrier."""
        plan = self.plan
        rows = block.values[plan.first : plan.stop]
        if carrier is None:
            kept: Float64 = rows[plan.last].astype(np.result_type(rows.dtype, np.float64))
            return kept
        predicted = np.empty(rows.shape[1])
        for start in range(0, rows.shape[1], SPAN):  # what stays in a cache is added up faster
            part = rows[:, start : start + SPAN].astype(np.float64)
            predicted[start : start + SPAN] = tally.add(
                block.tensor, part, carrier, block.start + start
            )
        return predicted

    def _refuse_growth(self, growth: Growth) -> None:
        if growth.matters and not self.settings.allow_growth:
            raise KoopscopeError(
                f"the motion grows: the forecast of step {self.plan.target} rests on a mode that "
                f"would grow {growth.factor:,.3g}-fold until then",
                "such training is not to be extrapolated; forecast a nearer step, or pass "
                "--allow-growth",
            )

    def _result(self, growth: Growth, tally: Tally, network: SnapshotGram) -> Forecast:
        plan = self.plan
        notes = list(self._notes(growth))
        target = plan.target is not None
        return Forecast(
            description=self.description,
            settings=self.settings,
            plan=plan,
            backtest=tally.backtest(network),
            layers=tuple(tally.layers(self._grams)) if target else (),
            actual=tally.actual(network) if target else None,
            growth=growth,
            plane=tally.plane,
            notes=tuple(notes),
        )

    def _notes(self, growth: Growth) -> Iterator[str]:
        yield from self.description.notes
        plan = self.plan
        if plan.every > 1:
            yield f"means of {plan.every} neighbouring snapshots are looked at (--every)"
        still = [t.name for t in self._tensors if not self._grams[t.name].path_length()]
        if still:
            more = f" and {len(still) - 3} more" if len(still) > 3 else ""
            yield f"stays where it is, as it never moved: {', '.join(still[:3])}{more}"
        left = [t for t in self.run.description.tensors if t not in self._tensors]
        if left:
            yield (
                f"{len(left)} tensor{' is' if len(left) == 1 else 's are'} not forecast and kept "
                "as last recorded: buffers, and what was left out"
            )
        if growth.modes and not self.settings.allow_growth:
            held = "mode that grows is" if growth.modes == 1 else "modes that grow are"
            yield f"{growth.modes} {held} held at constant speed (--allow-growth lets them grow)"


def _finite_part(plan: ForecastPlan, finite: npt.NDArray[np.bool_]) -> ForecastPlan:
    """Leave out what comes before the last snapshot that is not finite, and after the next."""
    finite = finite[plan.first : plan.stop]
    if not finite[plan.last]:
        raise KoopscopeError(
            f"the snapshot at step {plan.steps[plan.last]} holds weights that are not finite",
            "forecast from an earlier one with --until",
        )
    bad = np.flatnonzero(~finite)
    first = int(max(bad[bad < plan.last], default=-1)) + 1
    stop = int(min(bad[bad > plan.last], default=len(finite)))
    if plan.last + 1 - first < plan.fitted:
        raise KoopscopeError(
            f"only {plan.last + 1 - first} snapshots up to step {plan.steps[plan.last]} are finite "
            f"throughout, and the forecast rests on {plan.fitted}",
            "fit fewer with --snapshots, or forecast from an earlier step with --until",
        )
    return replace(
        plan,
        first=plan.first + first,
        stop=plan.first + stop,
        steps=plan.steps[first:stop],
        last=plan.last - first,
    )
