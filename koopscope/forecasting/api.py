"""Predicted weights as files and as arrays: ``koopscope.forecast``, and what the command writes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.export.arrays import RunArrays
from koopscope.forecasting.choices import Acceptance, Operator
from koopscope.forecasting.forecaster import Forecaster
from koopscope.forecasting.plan import ForecastSettings
from koopscope.forecasting.results import Forecast
from koopscope.runs.arrays.spec import ArraySpec, ArrayWriter
from koopscope.runs.detect.opening import open_run
from koopscope.runs.dtypes import StoredArray
from koopscope.runs.run import TensorInfo
from koopscope.spectra.gram import Observable
from koopscope.spectra.rank import RankRule

if TYPE_CHECKING:
    from typing_extensions import Unpack

Words = npt.NDArray[Any]


class ForecastOptions(TypedDict, total=False):
    """What can be chosen beside the step: the fields of ``ForecastSettings``."""

    ahead: int | None
    operator: Operator
    observable: Observable
    rank: RankRule
    delay: int | None
    accept: Acceptance
    snapshots: int
    every: int
    until: int | None
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    allow_growth: bool
    beyond_trust: bool
    max_error: float


@dataclass(frozen=True)
class Prediction:
    """The predicted weights of one run.

    Attributes
    ----------
    forecast
        What they rest on, and how forecasts of this run did in the past.
    weights
        Array by the tensor's own name, in its own shape and dtype (bfloat16 as float32, which holds
        its numbers).
    """

    forecast: Forecast
    weights: Mapping[str, npt.NDArray[np.floating[Any]]]

    def __repr__(self) -> str:
        run = self.forecast.description.path
        return f"Prediction({run!r}, {len(self.weights)} tensors: {self.forecast.verdict})"


def forecast(
    run: str | os.PathLike[str], to: int | None = None, **options: Unpack[ForecastOptions]
) -> Prediction:
    """Say where a recorded run's weights will be: what ``koopscope forecast`` does, as data.

    Parameters
    ----------
    run
        A run file, or anything else that ``koopscope.open_run`` opens.
    to
        The optimizer step; or give ``ahead``, a number of snapshots.
    **options
        The other fields of ``ForecastSettings`` (``operator``, ``accept``, ``until``, ...). One
        glob alone need not be in a list.

    Raises
    ------
    KoopscopeError
        If an option is unknown, the run cannot be read or is too short, or the forecast cannot be
        trusted.
    """
    settings = _settings(to, options)
    if settings.to is None and settings.ahead is None:
        raise KoopscopeError(
            "nothing says how far to forecast", "give a step with to=, or snapshots with ahead="
        )
    parts: dict[str, list[Words]] = {}
    with open_run(run, weights_for="a forecast") as opened:
        forecaster = Forecaster(opened, settings)
        made = forecaster.forecast(
            lambda tensor, values: parts.setdefault(tensor.name, []).append(
                values.astype(opened.read_dtype(tensor))
            )
        )
        shapes = {tensor.name: tensor.shape for tensor in opened.description.tensors}
    weights = {name: np.concatenate(p).reshape(shapes[name]) for name, p in parts.items()}
    return Prediction(made, weights)


def _settings(to: int | None, options: ForecastOptions) -> ForecastSettings:
    names = {f.name for f in fields(ForecastSettings)}
    for name in options.keys() - names:
        raise KoopscopeError(
            f"there is no option {name!r} of forecast", f"there are: {', '.join(sorted(names))}"
        )
    chosen: dict[str, Any] = {**options}
    for name in chosen.keys() & {"include", "exclude"}:
        globs = chosen[name]
        chosen[name] = (globs,) if isinstance(globs, str) else tuple(globs)
    return ForecastSettings(to=to, **chosen)


def write_prediction(
    forecaster: Forecaster, path: str | os.PathLike[str], *, force: bool = False
) -> Forecast:
    """Write the predicted weights of a run, every tensor in the run's own dtype.

    Raises
    ------
    KoopscopeError
        If the forecast is refused or a weight leaves the range of its dtype, and nothing is left
        behind; or the file cannot be written.
    """
    description, plan = forecaster.description, forecaster.plan
    specs = {tensor.name: ArraySpec(tensor.shape, tensor.dtype) for tensor in description.tensors}
    facts = {
        "step": str(plan.target),
        "predicted_from_step": str(int(plan.steps[plan.last])),
        "operator": forecaster.settings.operator,
        "observable": forecaster.settings.observable,
        "accept": forecaster.settings.accept,
    }
    with RunArrays(description, specs, facts).writer(path, force=force) as out:
        return forecaster.forecast(lambda tensor, values: _append(out, tensor, values))


def _append(out: ArrayWriter, tensor: TensorInfo, values: Float64) -> None:
    with np.errstate(over="ignore"):
        stored = StoredArray("float64", values).cast(tensor.dtype).words
    wide = stored if tensor.is_complex else StoredArray(tensor.dtype, stored).cast("float64").words
    if not np.isfinite(wide).all() and np.isfinite(values).all():
        raise KoopscopeError(
            f"predicted weights of {tensor.name} leave the range of {tensor.dtype}",
            "forecast a nearer step",
        )
    out.append(tensor.name, stored)
