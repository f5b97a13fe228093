"""Rows as a data frame, where pandas is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> DataFrame:
    """Return rows as a data frame with these columns in order.

    Raises
    ------
    KoopscopeError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise KoopscopeError(
            "a data frame needs pandas, which is not installed",
            "pip install pandas, or take to_dict(), which needs nothing",
        ) from None
    return pandas.DataFrame([dict(row) for row in rows], columns=list(columns))
