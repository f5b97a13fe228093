"""Values as JSON can hold them, and JSON as it is written: in ASCII, with nothing a CI obeys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from koopscope.inert import without_commands

_STRING = json.encoder.encode_basestring_ascii


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NumPy types as Python's, what is not finite as null."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        listed = value.tolist()
        return listed if np.isfinite(value).all() else plain(listed)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
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
    if isinstance(value, dict) and value:
        inner = margin + "  "
        items = (f"{_STRING(key)}: {_indented(item, inner)}" for key, item in value.items())
        return "{" + inner + ("," + inner).join(items) + margin + "}"
    if isinstance(value, list) and value:
        inner = margin + "  "
        return "[" + inner + ("," + inner).join([_indented(v, inner) for v in value]) + margin + "]"
    if type(value) is float and math.isfinite(value):
        return float.__repr__(value)
    return json.dumps(value, allow_nan=False)
