"""Which module shows a result as a dictionary, a drawing or a table: named here, loaded when asked.

A result stands on a floor below the reports and must not import them, as it must work without them.
So its methods look here for a name, as a report is looked up by its format.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Class -> module with ``to_dict``, ``plot`` and ``to_frame``.
SHOWN_BY = {
    "Comparison": "koopscope.report.objects.comparison",
    "Diagnosis": "koopscope.report.objects.diagnosis",
    "Finding": "koopscope.report.objects.finding",
    "Forecast": "koopscope.report.objects.forecast",
    "Spectrum": "koopscope.report.objects.spectrum",
}


def shown(result: object, how: str) -> Callable[..., Any]:
    """Return the function that shows a result in one of the ways that its class offers.

    Parameters
    ----------
    result
        An instance of one of ``SHOWN_BY``, or of a class below it.
    how
        ``to_dict``, ``plot``, ``to_frame``, or what else its module has.
    """
    from importlib import import_module

    home = next(
        SHOWN_BY[each.__name__] for each in type(result).__mro__ if each.__name__ in SHOWN_BY
    )
    found: Callable[..., Any] = getattr(import_module(home), how)
    return found
