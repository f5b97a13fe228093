"""Test a spectrum on snapshots it was not fitted to, and choose the rank that predicts them best.

In-sample residuals reward every further direction. Here a spectrum of the first part of a window
predicts the rest of it, and only that error counts. Never reads a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from koopscope._types import Complex128, Float64
from koopscope.spectra.gram import Products
from koopscope.spectra.matching import conjugates, matching
from koopscope.spectra.reduction import Reduction, function_residuals, reduce, reduce_all
from koopscope.spectra.series import Series

#: Parts of the window from whose end the rest is predicted.
ORIGINS = (0.5, 0.6, 0.7, 0.8)

#: Largest rank that is tried: what the corpus in docs/evidence/numerics.md can tell apart.
LARGEST_RANK = 20

_RANKS = np.arange(1, LARGEST_RANK + 1)

#: Tikhonov dampings that are tried, in squared lengths of one column, and the one taken where too
#: few values leave nothing to try them on: the best single one of the tuning runs.
DAMPINGS = (1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3)
USUAL_DAMPING = 0.03

#: Pairs looked at, the latest ones: the choice does not need more, and costs their cube.
PAIRS = 200

#: Fewest pairs from which a prediction is made.
_FEWEST = 4

#: A smaller rank is preferred while its error is within this part of the best one's: predictions
#: are as good, and eigenvalues better conditioned.
_INDIFFERENCE = 0.02

#: Part of a window that a spectrum is fitted to when it is judged by the rest.
_FITTED_PART = 2 / 3

#: One wild prediction is as bad as any other.
_WORST = 5.0


def forecast_errors(reduction: Reduction, horizon: int, operators: Sequence[Products]) -> Float64:
    """Return the error of predicting ``horizon`` values ahead, for each of the operators.

    Increments add up to a displacement; any other observable's last value has moved by it.

    Parameters
    ----------
    reduction
        Of the fitted part y_0 .. y_m; its series reaches at least to y_{m + horizon}.
    operators
        [r, r] each, of the r leading coordinates of the reduction.

    Returns
    -------
    float64 [len(operators)]: the distance between predicted and true displacement, relative to the
    true one (the error of "no change"). Infinite where a prediction overflows, zero where nothing
    moves.
    """
    series, m = reduction.series, reduction.pairs
    adds_up = series.observable == "increments"
    every = reduction.coordinates(max((len(operator) for operator in operators), default=0))
    moved = _moved(series, m, horizon)
    if adds_up:
        ahead = slice(m + 1, m + horizon + 1)
        way = every[:, ahead].sum(axis=1)
    else:
        way = every[:, m + horizon] - every[:, m]
    if moved <= 0.0 or not len(every):
        return np.full(len(operators), 1.0 if moved > 0.0 else 0.0)
    # All at once: a smaller operator leaves the coordinates it does not have at zero.
    stacked: Products = np.zeros((len(operators), len(every), len(every)), every.dtype)
    start: Products = np.zeros((len(operators), len(every), 1), every.dtype)
    for k, operator in enumerate(operators):
        stacked[k, : len(operator), : len(operator)] = operator
        start[k, : len(operator), 0] = every[: len(operator), m]
    state, predicted = start, np.zeros_like(start)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(horizon):
            state = stacked @ state
            predicted = predicted + state if adds_up else state - start
        overlaps = (predicted[..., 0].conj() @ way).real
        lengths = np.square(np.abs(predicted[..., 0])).sum(axis=1)
        squares = moved - 2.0 * overlaps + lengths
        errors: Float64 = np.sqrt(np.maximum(squares, 0.0) / moved)
    return np.where(np.isfinite(squares), errors, np.inf)


def _held_out_errors(
    series: Series, operators: Callable[[Reduction], list[Products]]
) -> Float64 | None:
    """Return the mean error of each operator over the ``ORIGINS``, or ``None`` if none fits in.

    Each spectrum predicts half as many values as it was fitted to, or what is left.
    """
    series = series.latest(PAIRS + 1)
    errors = []
    for fitted, horizon in _trials(series.pairs):
        reduction = reduce(series, fitted)
        relative = forecast_errors(reduction, horizon, operators(reduction))
        errors.append(np.minimum(relative, _WORST))
    return np.mean(errors, axis=0) if errors else None


def held_out_rank(series: Series) -> int:
    """Return the smallest rank whose predictions of held-out values are about the best.

    Spectra of the first 50, 60, 70 and 80% of the window predict half as many values as they were
    fitted to (or what is left). On real training runs this beats the optimal hard threshold, an
    energy of 0.99 and every fixed rank (docs/evidence/numerics.md).

    Returns
    -------
    At least 1, the constant of an affine law counted; where fewer than five pairs leave nothing to
    hold out, all of them.
    """
    return held_out_ranks([series])[0]


def held_out_ranks(series: Sequence[Series]) -> list[int]:
    """Return the rank of each of several series of one observable and length together."""
    latest = [each.latest(PAIRS + 1) for each in series]
    errors = []
    for fitted, horizon in _trials(latest[0].pairs):
        found = _nested_errors(reduce_all(latest, fitted), horizon)
        errors.append(np.minimum(found, _WORST))
    if not errors:
        return [max(1, min(PAIRS, series[0].pairs))] * len(series)
    mean = np.mean(errors, axis=0)
    good = mean <= (1.0 + _INDIFFERENCE) * mean.min(axis=1, keepdims=True)
    return [int(rank) + 1 for rank in np.argmax(good, axis=1)]


def _trials(pairs: int) -> list[tuple[int, int]]:
    """Return from how many pairs each trial is fitted, and how many values it then predicts."""
    every = [round(pairs * origin) for origin in ORIGINS]
    return [(n, min(pairs - n, max(1, n // 2))) for n in every if n >= _FEWEST]


def _nested_errors(reductions: Sequence[Reduction], horizon: int) -> Float64:
    """Return float64 [series, ``LARGEST_RANK``]: ``forecast_errors`` of every rank.

    Directions are nested: the operator of a smaller rank is the leading block of a larger one's, so
    that one product carries the states of all ranks on.
    """
    first = reductions[0]
    m, n = first.pairs, len(first.series.gram)
    adds_up = first.series.observable == "increments"
    dtype = np.result_type(*(each.right.dtype for each in reductions))
    every: Products = np.zeros((len(reductions), LARGEST_RANK, n), dtype)
    operators: Products = np.zeros((len(reductions), LARGEST_RANK, LARGEST_RANK), dtype)
    ranks = np.empty((len(reductions), LARGEST_RANK), np.intp)
    moved = np.empty(len(reductions))
    for k, reduction in enumerate(reductions):
        available = min(LARGEST_RANK, reduction.numerical_rank)
        ranks[k] = np.minimum(_RANKS, available)
        every[k, :available] = reduction.coordinates(available)
        operators[k, :available, :available] = reduction.operator(available)
        moved[k] = _moved(reduction.series, m, horizon)
    used = np.arange(LARGEST_RANK) < ranks[:, :, None]
    onward = operators.swapaxes(1, 2)
    start: Products = every[:, None, :, m] * used
    state, predicted = start, np.zeros_like(start)
    ahead = every[:, :, m + 1 : m + horizon + 1].sum(axis=2)
    way = ahead if adds_up else every[:, :, m + horizon] - every[:, :, m]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(horizon):
            state = np.where(used, state @ onward, 0.0)
            predicted = predicted + state if adds_up else state - start
        overlaps = (predicted.conj() * way[:, None]).real.sum(axis=2)
        squares = moved[:, None] - 2.0 * overlaps + np.square(np.abs(predicted)).sum(axis=2)
        whole = np.where(moved > 0.0, moved, 1.0)[:, None]
        errors: Float64 = np.sqrt(np.maximum(squares, 0.0) / whole)
    errors = np.where(np.isfinite(squares), errors, np.inf)
    errors[moved <= 0.0] = 0.0
    return errors


def _moved(series: Series, m: int, horizon: int) -> float:
    """Return the squared length of the displacement that is to be predicted after y_m."""
    if series.observable != "increments":
        return series.square_distance(m, m + horizon)
    ahead = slice(m + 1, m + horizon + 1)
    return float(series.gram[ahead, ahead].sum().real)


def held_out_damping(series: Series) -> float:
    """Return the strongest of the ``DAMPINGS`` whose predictions of held-out values are about best.

    Minibatch noise fills every direction, so that damping them (Tikhonov) forecasts better than
    dropping some; a run without noise is hurt by it (docs/evidence/forecasting.md).
    """
    errors = _held_out_errors(
        series,
        lambda reduction: [
            damped(reduction.operator(reduction.numerical_rank), reduction.singular_values, amount)
            for amount in DAMPINGS
        ],
    )
    if errors is None:
        return USUAL_DAMPING
    return DAMPINGS[int(np.flatnonzero(errors <= (1.0 + _INDIFFERENCE) * errors.min())[-1])]


def damped(operator: Products, singular_values: Float64, amount: float) -> Products:
    """Return U^* Y X^* (X X^* + amount)^-1 U, from the operator without damping.

    Parameters
    ----------
    operator, singular_values
        [r, r] and at least r, of a ``Reduction``.
    amount
        In squared lengths of one (unit-norm) column.
    """
    squares = singular_values[: len(operator)] ** 2
    damping: Products = operator * (squares / (squares + amount))
    return damping


@dataclass(frozen=True)
class HeldOut:
    """How a spectrum fitted to the first two thirds of its window does on the last third.

    Attributes
    ----------
    error
        Of the predicted displacement, relative to "no change": below 1 it knows something of the
        future. NaN where the window is too short to tell.
    residuals
        float64 [r] in the order of the whole window's spectrum: the root mean square of
        phi(y_{t+1}) - lambda phi(y_t) over that of phi(y_t), for the left eigenfunction phi of the
        matching eigenvalue lambda of the first part. NaN where there is none.
    """

    error: float
    residuals: Float64


def held_out(series: Series, eigenvalues: Complex128) -> HeldOut:
    """Judge the rank and the eigenvalues of a spectrum by values they were not fitted to.

    Parameters
    ----------
    series
        What the spectrum is of.
    eigenvalues
        complex128 [r], fitted to all of it.
    """
    rank, pairs = len(eigenvalues), series.pairs
    fitted = round(pairs * _FITTED_PART)
    unknown = np.full(rank, np.nan)
    if not rank or fitted < 2 or pairs == fitted:
        return HeldOut(float("nan"), unknown)
    reduction = reduce(series, fitted, leading=rank)
    used = reduction.operator(min(rank, reduction.numerical_rank))
    error = float(forecast_errors(reduction, pairs - fitted, [used])[0])
    if reduction.numerical_rank < rank:
        return HeldOut(error, unknown)
    values, vectors = reduction.eigen(rank)
    rest = reduction.coordinates(rank)[:, fitted:]
    residuals = function_residuals(values, vectors, rest, reduction.constants)
    counterparts = residuals[matching(values[None], eigenvalues)[0]]
    # Where one of a pair has a counterpart and the other another, the worse one holds for both.
    return HeldOut(error, np.maximum(counterparts, counterparts[conjugates(eigenvalues)]))
