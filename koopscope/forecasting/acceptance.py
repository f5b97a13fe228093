"""Which weights may jump: the tests that a predicted displacement has to pass, weight by weight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from koopscope._types import Floating
from koopscope.errors import KoopscopeError
from koopscope.forecasting.choices import ACCEPTANCES, Acceptance


def accepted(
    rule: Acceptance, displacement: Floating, last_increment: Floating, horizon: float
) -> npt.NDArray[np.bool_]:
    """Return bool, in the displacement's shape: which weights move; others stay where they are.

    Parameters
    ----------
    rule
        ``none``: all of them. ``sign``: those that go on in the direction of their last increment.
        ``pdt``: of those, the ones whose displacement is at least the last increment and at most
        ``horizon`` times it (Predictive Differential Training, ICLR 2026).
    displacement, last_increment
        Of the same shape; the increment may lack leading axes.
    horizon
        Snapshot intervals that the displacement spans.

    Raises
    ------
    KoopscopeError
        If the rule is unknown.
    """
    if rule not in _RULES:
        raise KoopscopeError(
            f"unknown acceptance test {rule!r}", f"choose one of {', '.join(ACCEPTANCES)}"
        )
    return _RULES[rule](displacement, last_increment, horizon)


def _all(displacement: Floating, last: Floating, horizon: float) -> npt.NDArray[np.bool_]:
    return np.ones(np.broadcast_shapes(displacement.shape, last.shape), np.bool_)


def _same_direction(
    displacement: Floating, last: Floating, horizon: float
) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = np.sign(displacement) * np.sign(last) > 0.0
    return same


def _between_one_and_all(
    displacement: Floating, last: Floating, horizon: float
) -> npt.NDArray[np.bool_]:
    far, step = np.abs(displacement), np.abs(last)
    within: npt.NDArray[np.bool_] = (step <= far) & (far <= horizon * step)
    return within & _same_direction(displacement, last, horizon)


_RULES: dict[str, Callable[[Floating, Floating, float], npt.NDArray[np.bool_]]] = {
    "none": _all,
    "sign": _same_direction,
    "pdt": _between_one_and_all,
}
