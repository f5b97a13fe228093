"""Refuses options of the accelerator that are not possible, with a sentence and a hint."""

from __future__ import annotations

from typing import Any

from koopscope.errors import KoopscopeError


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise where a value is none of the choices."""
    if value not in choices:
        raise KoopscopeError(
            f"{name}={value!r} is not possible", f"choose one of {', '.join(choices)}"
        )


def check_number(name: str, value: float, least: float) -> None:
    """Raise where a number is below the least, or none."""
    if not value >= least:
        raise KoopscopeError(f"{name}={value} is not possible", f"use {least:g} or more")


def check_parts(model: Any, optimizer: Any, evaluate: Any, average: float | None) -> None:
    """Raise where a model, an optimizer or what goes with them cannot be used."""
    if not callable(getattr(model, "named_parameters", None)):
        raise KoopscopeError(
            f"a {type(model).__name__} has no parameters", "pass a torch.nn.Module"
        )
    if not hasattr(optimizer, "param_groups") or not hasattr(optimizer, "state"):
        raise KoopscopeError(
            f"a {type(optimizer).__name__} is no optimizer", "pass a torch.optim.Optimizer"
        )
    if evaluate is not None and not callable(evaluate):
        raise KoopscopeError(
            f"evaluate={evaluate!r} cannot be called",
            "pass a function without arguments that returns a loss",
        )
    if average is not None and not 0.0 <= average < 1.0:
        raise KoopscopeError(
            f"average={average} is not possible", "use a share of 0 or more and below 1"
        )
