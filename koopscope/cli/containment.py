"""Work in a child process, so that a file that hangs or crashes a reader costs one sentence.

The child is forked before NumPy and HDF5 are loaded, which takes some milliseconds. It stays in the
foreground with its parent and has the same streams; the parent only waits, passes signals on, and
turns the child's end into its own. Where the system cannot do that (Windows, macOS), the work is
done in the first process, and ``koopscope.runs.hdf5.structure`` looks at files beforehand.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from koopscope.cli import interruption
from koopscope.runs.hdf5.values import Board, Watch, shown_on

#: Passed on to the child, unless the terminal has told it already.
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")

#: ``si_code`` of a signal from the kernel, as for a key: it goes to the whole foreground group.
_FROM_KERNEL = 0x80

#: Seconds that a child has to end after Ctrl-C, and after another.
_PATIENCE = 10.0
_IMPATIENCE = 2.0

#: Seconds between looks at what the child reads.
_LOOK = 1.0

#: Linux: the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1


def can_contain() -> bool:
    """Return whether this system lets a process wait for its child as it has to."""
    return hasattr(os, "fork") and hasattr(signal, "sigtimedwait")


def contain(job: Callable[[], int], complain: Callable[[str, str | None], None]) -> int:
    """Do a job in a child and return its exit code; for a child that was lost, complain: 2.

    In the child this function calls ``job`` and ends the process; it never returns there.

    Parameters
    ----------
    job
        Returns the exit code.
    complain
        Writes an error and a hint.
    """
    watched = {signal.Signals[name] for name in _PASSED_ON}
    # Ignored signals (SIGINT of a background job, SIGHUP under nohup) stay ignored in both.
    watched -= {number for number in watched if signal.getsignal(number) == signal.SIG_IGN}
    watched |= {signal.SIGCHLD}
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    board = Board()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:  # no process left: do without
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return job()
    if child == 0:
        _become_child(job, before, board, parent)
    status, is_interrupted = _wait(child, watched, Watch(board, child))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGKILL and is_interrupted:
        number = signal.SIGINT
    if not number:
        return os.WEXITSTATUS(status)
    return _sentence(number, board, complain)


def _wait(child: int, watched: set[signal.Signals], watch: Watch) -> tuple[int, bool]:
    """Pass signals on until the child has ended; return how, and whether it was interrupted.

    An interrupted child that does not end is killed, and so is one that reads a block without an
    end. Outputs appear whole, so that costs a draft.
    """
    interrupts, end = 0, math.inf
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status, interrupts > 0
        left = end - time.monotonic()
        if left <= 0:
            os.kill(child, signal.SIGKILL)
            end, left = math.inf, math.inf
        arrived = signal.sigtimedwait(watched, min(left, _LOOK))
        if arrived is None and watch.is_stuck():
            os.kill(child, signal.SIGPROF)  # as its own timer does where a structure has no end
        if arrived is None or arrived.si_signo == signal.SIGCHLD:
            continue
        if arrived.si_signo == signal.SIGINT:
            interrupts += 1
            end = time.monotonic() + (_PATIENCE if interrupts == 1 else _IMPATIENCE)
        if arrived.si_code != _FROM_KERNEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, arrived.si_signo)


def _become_child(
    job: Callable[[], int], mask: set[int | signal.Signals], board: Board, parent: int
) -> NoReturn:
    from koopscope.runs.hdf5 import structure

    # Until there is something to clean up, Ctrl-C just ends the child: an exception raised while
    # libraries are loaded comes out of them as anything, and so it does while Python ends.
    interruption.let_kill()
    is_tied = False

    def announce(path: str) -> None:
        nonlocal is_tied
        board.announce(path)
        if not is_tied:
            is_tied = True
            _die_with(parent)
            if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
                interruption.listen()

    structure.contained(announce)
    shown_on(board)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    code = job()
    interruption.let_kill()
    sys.exit(code)


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent is killed; it loads what NumPy has loaded."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(2)


def _sentence(number: int, board: Board, complain: Callable[[str, str | None], None]) -> int:
    """Turn the signal that ended the child into words, or into the parent's own end."""
    from koopscope.runs.hdf5 import structure

    path = board.name
    if number == signal.SIGINT:
        complain("interrupted", None)
        return 130
    if number == structure.OUT_OF_TIME or number in structure.CRASHES:
        what = "weights" if board.state[0] & 1 else "structure"
        error = structure.lost(path, number, what)
        complain(error.message, error.hint)
        return 2
    if number == signal.SIGKILL:
        complain(
            f"the work{f' on {path}' if path else ''} was killed, as the system does when memory "
            "runs out",
            "free some memory, or choose fewer tensors with --include",
        )
        return 2
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number
