"""JSON out of files, parsed only where that takes bounded memory.

A list takes one byte in a file and sixty in memory; what a text would grow to is told by the signs
that begin or part its values, before it is parsed.
"""

from __future__ import annotations

import json
from typing import Any

#: Values that a text may hold, at most: some 200 MB of the smallest objects.
MOST_VALUES = 1_000_000


def loaded(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises
    ------
    ValueError
        If it is no JSON, nested too deep, or holds more values than are sensible.
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    values = raw.count(b"[") + raw.count(b"{") + raw.count(b",")
    if values > MOST_VALUES:
        raise ValueError(f"it holds {values:,} values, more than {MOST_VALUES:,}")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
