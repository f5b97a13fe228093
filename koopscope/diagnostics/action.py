"""The one thing to do about a finding: a word and its size, for programs and as a line of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from koopscope.diagnostics.evidence import plain_form, shown_with

Do = Literal[
    "stop",
    "restart",
    "lower_lr",
    "raise_lr",
    "restore",
    "average",
    "freeze",
    "record_more",
    "none",
]

#: A line names at most this many layers, then says how many more there are.
_NAMED = 3


@dataclass(frozen=True)
class Action:
    """What to do next, and with which size. What does not apply is ``None`` and left out of JSON.

    Attributes
    ----------
    do
        One word of ``Do``.
    step
        Where to stop, or whose weights to restore, to average from or to start from; in steps.
    factor
        What to multiply the learning rate by: below 1 for ``lower_lr``, above 1 for ``raise_lr``.
    factor_range
        Between which factors the right one is likely to lie, the smaller one first.
    layers
        The layers it is about, in model order.
    count
        How many snapshots: to average, or to record.
    """

    do: Do = "none"
    step: int | None = field(default=None, metadata=shown_with("step"))
    factor: float | None = field(default=None, metadata=shown_with("factor"))
    factor_range: tuple[float, float] | None = field(
        default=None, metadata=shown_with("factor_range")
    )
    layers: tuple[str, ...] | None = field(default=None, metadata=shown_with("layers"))
    count: int | None = field(default=None, metadata=shown_with("count"))

    def plain(self) -> dict[str, object]:
        """Return the action as JSON has it."""
        form: dict[str, object] = plain_form(self)
        return form

    @property
    def line(self) -> str:
        """What to do, without a full stop; empty where there is nothing to do."""
        return _LINES[self.do](self)


#: What to multiply a rate by that is too high, where no more is known: at least, most likely, most.
LOWER = (0.1, 0.3, 0.5)


def lower_rate() -> Action:
    """Return the advice to lower a learning rate of which only the side is known."""
    low, factor, high = LOWER
    return Action("lower_lr", factor=factor, factor_range=(low, high))


def _at(action: Action, words: str) -> str:
    return "" if action.step is None else f"{words} {action.step}"


def _rate(action: Action) -> str:
    lower = action.do == "lower_lr"
    words = "lower the learning rate" if lower else "raise the learning rate"
    if action.factor_range is not None:
        low, high = action.factor_range
        few, many = (1.0 / high, 1.0 / low) if lower else (low, high)
        words += f" by {few:.2g} to {many:.2g} times"
    elif action.factor is not None:
        times = 1.0 / action.factor if lower else action.factor
        words += f" about {times:.2g} times"
    return words + _at(action, ", from the weights of step")


def _named(layers: tuple[str, ...] | None) -> str:
    if not layers:
        return "the layers at rest"
    more = len(layers) - _NAMED
    return ", ".join(layers[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _average(action: Action) -> str:
    count = "the last snapshots" if action.count is None else f"the last {action.count} snapshots"
    return f"average {count}" + _at(action, " up to step")


def _record(action: Action) -> str:
    if action.count is None:
        return "record more often"
    return f"judge again from {action.count} snapshots on: wait for more, or record more often"


_LINES: dict[Do, Callable[[Action], str]] = {
    "stop": lambda action: "stop training" + _at(action, "; enough by step"),
    "restart": lambda action: "start again with another initialization",
    "lower_lr": _rate,
    "raise_lr": _rate,
    "restore": lambda action: "go back to the weights" + _at(action, " of step"),
    "average": _average,
    "freeze": lambda action: f"freeze {_named(action.layers)}" + _at(action, " from step"),
    "record_more": _record,
    "none": lambda action: "",
}
