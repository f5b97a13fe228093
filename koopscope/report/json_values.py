"""Values as JSON can hold them, and JSON as it is written: in ASCII, with nothing a CI obeys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from koopscope.inert import without_commands


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NumPy types as Python's, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(document: Any) -> str:
    """Return a document of plain values as indented JSON in ASCII, ending in a newline.

    Names keep their value: what a CI's log would obey is escaped the way JSON escapes.
    """
    text = json.dumps(document, indent=2, allow_nan=False)
    return without_commands(text, r"\u00") + "\n"
