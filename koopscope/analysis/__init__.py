"""The analysis of one run: settings, the plan of the read, every spectrum once."""

from __future__ import annotations

from typing import Any

#: Names that ``koopscope.analysis`` had when it was one module, and where they are.
_HOMES = {
    "Analysis": "analysis",
    "LEVELS": "scope",
    "Level": "scope",
    "Motion": "motion",
    "NETWORK": "scope",
    "Settings": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
