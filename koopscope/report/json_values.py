"""Values as JSON can hold them, and JSON as it is written: in ASCII, with nothing a CI obeys."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from koopscope.inert import without_commands

#: Types whose values JSON holds as they are.
_AS_THEY_ARE = frozenset({str, int, bool, type(None)})

_STRING = json.encoder.encode_basestring_ascii


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NumPy types as Python's, what is not finite as null."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind in _AS_THEY_ARE:
        return value
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        listed = value.tolist()
        return listed if np.isfinite(value).all() else plain(listed)
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def native(value: Any) -> Any:
    """Return a value as Python holds it: NumPy scalars as Python's, arrays and NaN as they are.

    ``plain`` of it is ``plain`` of the value itself.
    """
    if isinstance(value, Mapping):
        return {str(key): native(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [native(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def json_text(document: Any) -> str:
    """Return a document of plain values as indented JSON in ASCII, ending in a newline.

    Names keep their value: what a CI's log would obey is escaped the way JSON escapes.
    """
    return without_commands(_indented(document, "\n"), r"\u00") + "\n"


def _indented(value: Any, margin: str) -> str:
    """Return what ``json.dumps(value, indent=2)`` does, whose indenting encoder is a slow one."""
    inner = margin + "  "
    if isinstance(value, dict) and value:
        items = [
            f"{_STRING(key)}: "
            + (scalar(item) if (scalar := _WRITTEN.get(type(item))) else _indented(item, inner))
            for key, item in value.items()
        ]
        return "{" + inner + ("," + inner).join(items) + margin + "}"
    if isinstance(value, list) and value:
        items = [
            scalar(item) if (scalar := _WRITTEN.get(type(item))) else _indented(item, inner)
            for item in value
        ]
        return "[" + inner + ("," + inner).join(items) + margin + "]"
    return json.dumps(value, allow_nan=False)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")
    return float.__repr__(value)


#: How the values that are no containers are written; containers ask without a call of their own.
_WRITTEN: dict[type, Callable[[Any], str]] = {
    float: _number,
    int: int.__repr__,
    str: _STRING,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}
