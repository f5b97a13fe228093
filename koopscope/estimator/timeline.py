"""When snapshots were taken, and when the motion is wanted: times with an even step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError

_KEYS = ("t0", "tend", "dt")

#: Parts of a step by which a last time may miss the grid because of rounding.
_SLACK = 1e-6


class Timeline(dict[str, float]):
    """Times from ``t0`` to ``tend`` at steps of ``dt``: a dictionary with these three keys."""

    def __init__(self, times: Mapping[str, float]) -> None:
        super().__init__()
        if set(times) != set(_KEYS):
            raise KoopscopeError(
                f"a timeline has the keys {', '.join(_KEYS)}, not {', '.join(map(str, times))}",
                'for example {"t0": 0, "tend": 14, "dt": 1}',
            )
        for key, value in times.items():
            self[key] = value

    @classmethod
    def of_snapshots(cls, count: int, dt: float) -> Timeline:
        """Return the times of ``count`` snapshots, the first one at 0."""
        return cls({"t0": 0, "tend": (count - 1) * dt, "dt": dt})

    def __setitem__(self, key: str, value: float) -> None:
        if key not in _KEYS:
            raise KeyError(f"{key!r} is not one of {', '.join(_KEYS)}")
        if not math.isfinite(value) or (key == "dt" and not value > 0):
            raise KoopscopeError(
                f"{key} cannot be {value}", "times are finite and a step is a positive number"
            )
        super().__setitem__(key, value)

    def steps(self) -> Float64:
        """Return t0, t0 + dt, ...: all times up to ``tend``, which belongs to them.

        Raises
        ------
        KoopscopeError
            If ``tend`` comes before ``t0``.
        """
        reached = (self["tend"] - self["t0"]) / self["dt"]
        if reached < 0:
            raise KoopscopeError(
                f"time ends at {self['tend']}, before it begins at {self['t0']}",
                "set tend to t0 or later",
            )
        count = np.arange(math.floor(reached + _SLACK) + 1, dtype=np.float64)
        return self["t0"] + self["dt"] * count
