"""Ctrl-C that cannot get lost: it comes again until the command has taken it.

Python drops an exception that a signal handler raises inside a callback of a weak reference, and
h5py turns one that is raised in HDF5's calls back into an error of its own. So the first interrupt
starts a timer that raises it again, unless it is on its way up; and an error that comes up after an
interrupt is the interrupt.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

#: Seconds until an interrupt that nobody took comes again.
_AGAIN = 0.25

_is_pending = False


def listen() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt`` until it is taken; main thread only."""
    global _is_pending
    _is_pending = False
    signal.signal(signal.SIGINT, _interrupt)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _again)


def let_kill() -> None:
    """Let Ctrl-C just end the process, unless it is ignored, and raise nothing any more."""
    _stop_timer()
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def taken() -> bool:
    """Return whether there was an interrupt; none comes again for it."""
    _stop_timer()
    return _is_pending


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _is_pending
    _is_pending = True
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
    raise KeyboardInterrupt


def _again(number: int, frame: FrameType | None) -> None:
    # What is handled at this moment: blocks that clean up must not be interrupted once more.
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt


def _stop_timer() -> None:
    if hasattr(signal, "setitimer") and signal.getsignal(signal.SIGALRM) is _again:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
