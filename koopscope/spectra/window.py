"""Which snapshots a spectrum may rest on: evenly spaced in time, all of them finite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError


@dataclass(frozen=True)
class Window:
    """The snapshots ``[first, stop)`` that the numbers rest on.

    Attributes
    ----------
    first, stop
        Indices into the run's snapshots.
    spacing_steps
        Optimizer steps between two of them; 1 for a single snapshot.
    asked_first, asked_stop
        Of the snapshots that were asked for, before the longest stretch that is evenly spaced and
        finite was taken. No number may rest on any other.
    evenly_spaced
        Whether what was asked for was evenly spaced throughout.
    """

    first: int
    stop: int
    spacing_steps: float
    asked_first: int
    asked_stop: int
    evenly_spaced: bool

    @property
    def snapshots(self) -> int:
        """Number of snapshots in the window."""
        return self.stop - self.first

    @property
    def asked(self) -> int:
        """Number of snapshots that were asked for."""
        return self.asked_stop - self.asked_first


def usable_window(
    steps: npt.NDArray[np.int64],
    finite: npt.NDArray[np.bool_],
    first_step: int | None = None,
    last_step: int | None = None,
) -> Window:
    """Return the longest finite, evenly spaced stretch within the steps asked for.

    Parameters
    ----------
    steps, finite
        int64 [T] and bool [T].
    first_step, last_step
        Both included; open where ``None``.

    Raises
    ------
    KoopscopeError
        If no snapshot, or no finite one, lies there.
    """
    if not len(steps):
        raise KoopscopeError(
            "the run holds no snapshot", "record at least one with Recorder.snapshot()"
        )
    low = steps[0] if first_step is None else first_step
    high = steps[-1] if last_step is None else last_step
    indices = np.flatnonzero((steps >= low) & (steps <= high))
    if not len(indices):
        raise KoopscopeError(
            f"no snapshot lies in steps {low}:{high}",
            f"the run holds steps {steps[0]} to {steps[-1]}",
        )
    first, stop = int(indices[0]), int(indices[-1]) + 1
    if not finite[first:stop].any():
        raise KoopscopeError(
            f"steps {steps[first]}:{steps[stop - 1]} hold no snapshot of finite weights alone",
            "look earlier in the run with --window, or leave tensors out with --exclude",
        )
    begin, end = _longest_stretch(steps, finite, first, stop)
    gaps = np.diff(steps[first:stop])
    return Window(
        begin,
        end,
        float(steps[begin + 1] - steps[begin]) if end - begin > 1 else 1.0,
        first,
        stop,
        bool((gaps == gaps[:1]).all()),
    )


def _longest_stretch(
    steps: npt.NDArray[np.int64], finite: npt.NDArray[np.bool_], first: int, stop: int
) -> tuple[int, int]:
    """Return the longest ``[begin, end)`` of finite snapshots at equal gaps; the last of equals."""
    best, begin = (first, first), first
    for t in range(first, stop):
        if not finite[t]:
            begin = t + 1
            continue
        if t - begin >= 2 and steps[t] - steps[t - 1] != steps[t - 1] - steps[t - 2]:
            begin = t - 1
        if t + 1 - begin >= best[1] - best[0]:
            best = (begin, t + 1)
    return best
