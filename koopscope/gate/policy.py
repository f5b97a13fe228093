"""What a gate demands: levels and limits of rules, bounds on metrics, tolerances to a baseline.

Plain values in, frozen dataclasses out; where the values were written is no business of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from koopscope.errors import KoopscopeError
from koopscope.gate.rules import (
    BASELINE,
    LEVELS,
    PRESETS,
    SAME_DYNAMICS,
    Level,
    Preset,
    Rule,
    did_you_mean,
    rule,
)

FailOn = Literal["error", "warn", "never"]


@dataclass(frozen=True)
class RuleSetting:
    """How one rule is applied.

    Attributes
    ----------
    level
        What a violation counts as.
    warnings
        Whether a finding that is only a warning counts as a violation at that level; otherwise it
        is a warning whatever the level.
    threshold
        In place of the finding's own, in the finding's unit.
    accept
        States that pass, where the finding has a state (``evidence.state``).
    """

    level: Level
    warnings: bool = False
    threshold: float | None = None
    accept: tuple[str, ...] | None = None


@dataclass(frozen=True)
class MetricBound:
    """Bounds on one recorded metric; those that are ``None`` do not apply."""

    metric: str
    level: Level = "error"
    final_below: float | None = None
    final_above: float | None = None
    best_below: float | None = None
    best_above: float | None = None


@dataclass(frozen=True)
class Tolerance:
    """A change counts when it exceeds ``absolute + relative * |old value|``."""

    absolute: float = 0.0
    relative: float = 0.0


@dataclass(frozen=True)
class Policy:
    """Everything a gate demands of a run."""

    preset: Preset = "recommended"
    fail_on: FailOn = "error"
    strict: bool = False
    rules: Mapping[str, RuleSetting] = field(default_factory=dict)
    metrics: tuple[MetricBound, ...] = ()
    tolerance: Tolerance | None = None
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)

    def setting(self, of: Rule) -> RuleSetting:
        """Return how a rule is applied: as configured, or as the preset has it."""
        level: Level = "error" if of is SAME_DYNAMICS else of.level(self.preset)
        preset = RuleSetting(level, warnings=self.preset == "strict")
        return self.rules.get(of.id, preset)

    @property
    def baseline_level(self) -> Level:
        """What a change counts as: a baseline that is given is judged even in the preset none."""
        return self.rules[BASELINE.id].level if BASELINE.id in self.rules else "error"

    def tolerance_of(self, name: str) -> Tolerance | None:
        """Return how much the value called ``name`` may change; ``None`` is what a seed makes."""
        return self.tolerances.get(name, self.tolerance)


def policy(values: Mapping[str, Any], where: str) -> Policy:
    """Return the policy that nested plain values describe.

    Parameters
    ----------
    values
        Keys ``preset``, ``fail-on``, ``strict``, ``rules``, ``metrics``, ``baseline``.
    where
        What to call the source in an error.

    Raises
    ------
    KoopscopeError
        For an unknown key (the nearest valid one is named) or a value of the wrong type.
    """
    top = _Table(values, "", where, ("preset", "fail-on", "strict", "rules", "metrics", "baseline"))
    preset: Preset = top.choice("preset", PRESETS, "recommended")
    baseline = top.table("baseline", ("absolute", "relative", "values"))
    absolute, relative = baseline.number("absolute"), baseline.number("relative")
    general = None
    if absolute is not None or relative is not None:
        general = Tolerance(absolute or 0.0, relative or 0.0)
    return Policy(
        preset=preset,
        fail_on=top.choice("fail-on", get_args(FailOn), "error"),
        strict=top.flag("strict"),
        rules={r.id: s for r, s in _rule_settings(top, preset)},
        metrics=tuple(_metric_bounds(top)),
        tolerance=general,
        tolerances=dict(_tolerances(baseline)),
    )


def _rule_settings(top: _Table, preset: Preset) -> list[tuple[Rule, RuleSetting]]:
    settings = []
    for name, value in top.table("rules", None).values.items():
        try:
            known = rule(name)
        except KoopscopeError as error:
            raise KoopscopeError(f"{top.where}: {error.message}", error.hint) from None
        usual = Policy(preset=preset).setting(known)
        if isinstance(value, str):
            value = {"level": value}
        options = ("level", "warnings", "threshold", "accept")
        table = _Table({name: value}, "rules.", top.where, None).table(name, options)
        level: Level = table.choice(
            "level", LEVELS, usual.level if usual.level != "off" else "error"
        )
        settings.append(
            (
                known,
                RuleSetting(
                    level,
                    table.flag("warnings", usual.warnings),
                    table.number("threshold"),
                    table.words("accept"),
                ),
            )
        )
    return settings


def _metric_bounds(top: _Table) -> list[MetricBound]:
    metrics = top.table("metrics", None)
    names = ("final-below", "final-above", "best-below", "best-above")
    bounds = []
    for name in metrics.values:
        table = metrics.table(name, ("level", *names))
        numbers = [table.number(option) for option in names]
        bounds.append(MetricBound(name, table.choice("level", LEVELS, "error"), *numbers))
    return bounds


def _tolerances(baseline: _Table) -> list[tuple[str, Tolerance]]:
    values = baseline.table("values", None)
    tolerances = []
    for name in values.values:
        table = values.table(name, ("absolute", "relative"))
        absolute, relative = table.number("absolute"), table.number("relative")
        tolerances.append((name, Tolerance(absolute or 0.0, relative or 0.0)))
    return tolerances


class _Table:
    """A table of plain values that knows what it is called and which keys it may have."""

    def __init__(
        self, values: Mapping[str, Any], prefix: str, where: str, known: tuple[str, ...] | None
    ) -> None:
        self.values, self.prefix, self.where = values, prefix, where
        if known is not None:
            for key in values:
                if key not in known:
                    raise KoopscopeError(
                        f"{where}: there is no setting {prefix + key!r}", did_you_mean(key, known)
                    )

    def table(self, key: str, known: tuple[str, ...] | None) -> _Table:
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "a table of settings")
        return _Table(value, f"{self.prefix}{key}.", self.where, known)

    def choice(self, key: str, choices: tuple[Any, ...], default: Any) -> Any:
        value = self.values.get(key, default)
        if value not in choices:
            raise self._wrong(key, value, " or ".join(repr(choice) for choice in choices))
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def number(self, key: str, default: float | None = None) -> float | None:
        value = self.values.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._wrong(key, value, "a number")
        try:
            number = float(value)
        except OverflowError:  # TOML has integers of any length
            raise self._wrong(key, value, "a number below 1e308") from None
        if not math.isfinite(number):
            raise self._wrong(key, value, "a number")
        return number

    def words(self, key: str) -> tuple[str, ...] | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._wrong(key, value, "a list of states")
        return tuple(value)

    def _wrong(self, key: str, value: object, wanted: str) -> KoopscopeError:
        # Python refuses to write out very long integers, which hexadecimal digits can make.
        is_long = isinstance(value, int) and abs(value) >= 10**30
        shown = "a whole number of more than 30 digits" if is_long else repr(value)
        return KoopscopeError(
            f"{self.where}: {self.prefix}{key} is {shown}, not {wanted}",
            "see docs/guide/ci.md for what can be set",
        )
