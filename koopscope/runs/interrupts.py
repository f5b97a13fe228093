"""Let signals wait while a file is changed, so that Ctrl-C costs no snapshot and is never lost.

A Python signal handler may raise at any instruction, also inside a callback of HDF5, which then
takes the exception for a failed write and forgets it. Knows signals, not what they interrupt.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

#: Those whose handlers programs use to stop, to save, or to limit time. SIGINT is first: it is held
#: before all others, and given back after them.
_HELD = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Python's signal handlers in the block; they are called when it ends.

    Only the main thread runs such handlers: in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number not in came:
            came.append(number)

    def deliver() -> None:
        for number in came:
            signal.raise_signal(number)

    with ExitStack() as stack:
        stack.callback(deliver)
        for number in _HELD:
            handler = signal.getsignal(number)
            if callable(handler):
                stack.callback(signal.signal, number, handler)
                signal.signal(number, note)
        yield
