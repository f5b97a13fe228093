"""Recorded metrics against bounds, and against being numbers at all."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from koopscope.gate.outcome import Outcome, Verdict, violation
from koopscope.gate.policy import MetricBound, Policy
from koopscope.gate.rules import METRICS, Level, did_you_mean

_NAN_HINT = (
    "a loss that became NaN: lower the learning rate; if it is only recorded now and then, "
    "record it with the last snapshot"
)


def of_metrics(
    recorded: Mapping[str, npt.NDArray[np.float64]], policy: Policy
) -> Iterator[Outcome]:
    """Yield what comes of the metrics: those that end badly, then every bound."""
    level = policy.setting(METRICS).level
    if level != "off":
        for name, values in recorded.items():
            if len(values) and not np.isfinite(values[-1]):
                yield _ended_badly(name, values, level)
    for bound in policy.metrics:
        if bound.level != "off":
            yield from _of_bound(bound, recorded)


def _ended_badly(name: str, values: npt.NDArray[np.float64], level: Level) -> Outcome:
    never = not np.isfinite(values).any()
    return _outcome(
        name,
        violation(level),
        f"{name} is not a finite number at any snapshot."
        if never
        else f"The last {name} is not a finite number, although earlier ones are.",
        f"a finite last {name}",
        _in_words(values[-1]),
        "look at how it is computed: it was never a finite number" if never else _NAN_HINT,
    )


def _in_words(value: float) -> str:
    return "not a number, or not given" if np.isnan(value) else f"{value:g}"


def _of_bound(
    bound: MetricBound, recorded: Mapping[str, npt.NDArray[np.float64]]
) -> Iterator[Outcome]:
    values = recorded.get(bound.metric)
    if values is None or np.isnan(values).all():
        yield _outcome(
            bound.metric,
            "inconclusive",
            f"The run holds no value of {bound.metric} to judge.",
            hint=_missing_hint(bound.metric, recorded),
            demanded=True,
        )
        return
    # Where nothing was given there is nothing to compare, but an infinite value was given.
    given = values[~np.isnan(values)]
    final, lowest, highest = float(values[-1]), float(given.min()), float(given.max())
    cases = (
        ("final", "<", bound.final_below, final, operator.lt),
        ("final", ">", bound.final_above, final, operator.gt),
        ("best", "<", bound.best_below, lowest, operator.lt),
        ("best", ">", bound.best_above, highest, operator.gt),
    )
    for which, sign, limit, value, holds in cases:
        if limit is None:
            continue
        good = np.isfinite(value) and holds(value, limit)
        found = f"{value:.6g}" if np.isfinite(value) else _in_words(value)
        yield _outcome(
            bound.metric,
            "pass" if good else violation(bound.level),
            f"The {which} {bound.metric} is {found}, {'' if good else 'not '}{sign} {limit:g}.",
            f"{which} {bound.metric} {sign} {limit:g}",
            found,
            _NAN_HINT if np.isnan(value) else None,
        )


def _missing_hint(metric: str, recorded: Mapping[str, object]) -> str:
    record = f"record it: snapshot(..., {metric}=value)"
    return f"{did_you_mean(metric, recorded)}; or {record}" if recorded else record


def _outcome(
    metric: str,
    verdict: Verdict,
    message: str,
    expected: str | None = None,
    found: str | None = None,
    hint: str | None = None,
    *,
    demanded: bool = False,
) -> Outcome:
    return Outcome(
        METRICS.id,
        METRICS.code,
        f"{METRICS.title}: {metric}",
        verdict,
        message,
        expected,
        found,
        hint=hint,
        demanded=demanded,
    )
