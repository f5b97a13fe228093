"""One snapshot as a training loop hands it over, checked before any file is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import named_tensors

#: No step is as large: the distance of any two is a whole number of 64 bits.
STEP_LIMIT = 2**62


@dataclass(frozen=True)
class Row:
    """One snapshot: its step, its tensors by their full names, its metrics as numbers.

    Where snapshots are sketched, ``tensors`` become ``Sketched`` ones; with ``keep``, or as often
    as the recorder was told to, the weights stay in ``kept`` until they are written.
    """

    step: int
    tensors: dict[str, Any]
    metrics: dict[str, float]
    keep: bool = False
    kept: dict[str, Any] | None = None

    @classmethod
    def of(cls, step: Any, tensors: Any, metrics: Mapping[str, Any], keep: bool = False) -> Row:
        """Check a snapshot.

        Raises
        ------
        KoopscopeError
            If it is none: see ``Recorder.snapshot``.
        """
        return cls(checked_step(step), _checked_tensors(tensors), _checked_metrics(metrics), keep)


def checked_step(step: Any) -> int:
    """Return a step as a number that the file can hold.

    Raises
    ------
    KoopscopeError
        If it is none.
    """
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise KoopscopeError(
            f"step must be a whole number, not {step!r}", "pass the number of the optimizer step"
        )
    number = int(step.__index__())
    if not -STEP_LIMIT < number < STEP_LIMIT:
        raise KoopscopeError(
            f"step {number} is beyond what can be counted", "count optimizer steps"
        )
    return number


def must_increase(rows: Sequence[Row], last: int | None, path: Path) -> None:
    """Refuse snapshots whose steps do not come after the last one and after each other.

    Raises
    ------
    KoopscopeError
        At the first that does not.
    """
    for row in rows:
        if last is not None and row.step <= last:
            raise KoopscopeError(
                f"step {row.step} does not come after step {last}, the last one in {path}",
                "record another training with another Recorder, or pass resume_from=STEP to "
                "go back to STEP",
            )
        last = row.step


def _checked_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    checked: dict[str, float] = {}
    for name, value in metrics.items():
        if value is None:
            continue
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            checked[name] = float(value.detach() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise KoopscopeError(
                f"metric {name} must be one number, not {type(value).__name__}",
                f"pass a number, for example {name}=float({name})",
            ) from None
    return checked


def _checked_tensors(tensors: Any) -> dict[str, Any]:
    if not isinstance(tensors, Mapping):
        raise KoopscopeError(
            f"tensors must be a mapping of names to tensors, not {type(tensors).__name__}",
            "pass model.state_dict(), or a dictionary",
        )
    named: dict[str, Any] = {}
    for name, value in named_tensors(tensors):
        if name in named:
            raise KoopscopeError(
                f"two tensors are called {name}", "give each tensor a name of its own"
            )
        named[name] = value
    return named
