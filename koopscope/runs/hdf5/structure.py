"""Contain the reading of a file's structure: bounded time, and a crash is one sentence.

HDF5 is a C library that a damaged file can send into an endless loop or bring down, and nothing in
the process it runs in can stop it. The command line therefore works in a child process of its own
(``koopscope.cli.containment``); a Python program, which must not be forked at will, has files it
did not write itself walked through once by another process before it opens them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from koopscope.errors import KoopscopeError
from koopscope.runs.stamps import stamp_of


class Closable(Protocol):
    """What an opener returns."""

    def close(self) -> None:
        """Let go of the file."""


Opener = Callable[[Path], Closable]

#: Seconds of processor time after which another member of a file must have been found: more in a
#: large file, where finding one may take longer.
SECONDS = 2.0
SECONDS_PER_MEBIBYTE = 0.25
MOST_SECONDS = 60.0

#: The same for the whole structure. Sixteen thousand tensors take 9 MiB and some 8 seconds.
WHOLE_SECONDS = 5.0
WHOLE_SECONDS_PER_MEBIBYTE = 4.0
WHOLE_MOST_SECONDS = 600.0

#: Memory that reading the structure may take. Sixteen thousand tensors take 540 bytes each in the
#: file, and as objects some 20 kB.
BYTES = 384 * 2**20
BYTES_PER_BYTE = 40

#: How long a walk in another process may take by the clock, per second of processor time.
_PATIENCE = 5.0

_HDF5 = (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04")  # Keras packs HDF5 files into zip archives

#: What a process dies of when its timer for processor time runs out.
OUT_OF_TIME = getattr(signal, "SIGPROF", None)

#: The signals of a crash, rather than of somebody who wanted the process to end.
CRASHES = tuple(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGSYS")
    if hasattr(signal, name)
)


@dataclass
class _Limit:
    """Seconds of processor time for the next member and for all, the end of the latter, memory."""

    step: float
    whole: float
    memory: int
    end: float = 0.0


#: Called with each file whose structure is about to be read, in a process that may be lost; and
#: whether files need no walk by another process before they are opened here.
_announce: Callable[[str], None] | None = None
_walks_are_needed = True

_limits: list[_Limit] = []
#: Files that need no walk as they are.
_known: set[tuple[int, int, int, int]] = set()

#: Files whose structure has no end as they are: to find that out takes time.
_endless: set[tuple[int, int, int, int]] = set()


def contained(announce: Callable[[str], None]) -> None:
    """Say that this process may be lost: from now on it dies where a structure takes too long."""
    global _announce
    without_walks()
    _announce = announce


def without_walks() -> None:
    """Say that files are to be opened in this process as they are."""
    global _walks_are_needed
    _walks_are_needed = False


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Bound the processor time of a block that reads a file's structure, where that is possible.

    Blocks may be nested; the inner one has a limit of its own, and starts that of the outer again.
    """
    if _announce is None or OUT_OF_TIME is None:
        yield
        return
    _announce(str(path))
    limit = limit_of(path)
    limit.end = time.process_time() + limit.whole
    _limits.append(limit)
    progressed()
    try:
        with _bounded_memory(limit.memory):
            yield
    finally:
        _limits.pop()
        progressed()


@contextlib.contextmanager
def _bounded_memory(room: int) -> Iterator[None]:
    """Let this process have only so many bytes more than it has now, where the system counts them.

    The last line of defence: what a file declares is held against what it stores before that.
    """
    try:
        import resource

        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[5])
        before = resource.getrlimit(resource.RLIMIT_DATA)
        ceiling = pages * resource.getpagesize() + room
        if before[0] != resource.RLIM_INFINITY:
            ceiling = min(ceiling, before[0])
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, before[1]))
    except (ImportError, OSError, ValueError, IndexError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def progressed() -> None:
    """Say that one more member was found: the next has its time."""
    if _limits:
        left = _limits[-1].end - time.process_time()
        signal.setitimer(signal.ITIMER_PROF, min(_limits[-1].step, max(left, 1e-3)))
    elif _announce is not None and OUT_OF_TIME is not None:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def limit_of(path: str | os.PathLike[str]) -> _Limit:
    """Return the limits of a file, or of a folder's files together."""
    size = 0
    with contextlib.suppress(OSError, ValueError):
        size = os.stat(path).st_size
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                size = sum(entry.stat().st_size for entry in entries)
    return _Limit(
        min(MOST_SECONDS, SECONDS + SECONDS_PER_MEBIBYTE * size / 2**20),
        min(WHOLE_MOST_SECONDS, WHOLE_SECONDS + WHOLE_SECONDS_PER_MEBIBYTE * size / 2**20),
        BYTES + BYTES_PER_BYTE * size,
    )


def walk_first(paths: Iterable[str | os.PathLike[str]], opener: Opener) -> None:
    """Let another process open HDF5 files that this one has not seen as they are now.

    A fresh interpreter does it, all files at once: a fork of a process with threads, as JAX and
    CUDA have them, may hang, and is taken only where there is a single one. Where no process can
    be started, nothing is done.

    Parameters
    ----------
    opener
        What opens a file, and so walks its structure: a function or class of a module.

    Raises
    ------
    KoopscopeError
        If opening one of them takes too long, or crashes.
    """
    if not _walks_are_needed or OUT_OF_TIME is None:
        return
    names = {file: os.path.abspath(path) for path in paths if (file := _unseen(path)) is not None}
    if not names:
        return
    for file in names.keys() & _endless:
        raise lost(names[file], OUT_OF_TIME)
    number = _walk(list(names.values()), opener)
    if number:
        passed: list[tuple[int, int, int, int]] = []
        for file, name in names.items():
            alone = _walk([name], opener) if len(names) > 1 else number
            if alone == OUT_OF_TIME:
                _endless.add(file)
            if alone:
                _known.update(passed)
                raise lost(name, alone)
            passed.append(file)
        raise lost(next(iter(names.values())), number)
    _known.update(names)


def written_here(path: str | os.PathLike[str]) -> None:
    """Say that this process itself has written a file as it is now: it needs no walk."""
    stamp = stamp_of(path)
    if stamp is not None:
        _known.add(stamp.file)


def lost(path: str, number: int, what: str = "structure") -> KoopscopeError:
    """Return the error for a process that ended by a signal while it read ``what`` of a file."""
    if number == OUT_OF_TIME:
        return KoopscopeError(
            f"{path} cannot be read: reading its {what} comes to no end",
            "the file is damaged, or made to stop its readers; copy it again from where it was "
            "recorded",
        )
    name = signal.Signals(number).name
    return KoopscopeError(
        f"{path or 'a file'} cannot be read: reading it brought the process down ({name})",
        "the file is damaged, was cut while it was read, or is made to crash its readers; copy it "
        "again from where it was recorded",
    )


def _unseen(path: str | os.PathLike[str]) -> tuple[int, int, int, int] | None:
    """Identify an HDF5 file, or an archive that may hold one, that is unknown as it is.

    A file is opened for the answer once.
    """
    stamp = stamp_of(path)
    if stamp is None or stamp.file in _known:
        return None
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                if file.read(8).startswith(_HDF5) and not str(path).endswith(".npz"):
                    return stamp.file
                if stamp.is_old and stamp_of(file.fileno()) == stamp:
                    _known.add(stamp.file)
    return None


def _walk(names: list[str], opener: Opener) -> int:
    """Open files in another process; return the signal that ended it, 0 where it came through."""
    if _has_one_thread():
        child = os.fork()
        if child == 0:
            _walk_here(names, opener)
        _, status = os.waitpid(child, 0)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if not sys.executable or getattr(sys, "frozen", False):
        return 0
    limit = sum(limit_of(name).whole for name in names)
    program = (
        "import sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from koopscope.runs.hdf5.structure import _walk_here\n"
        f"from {opener.__module__} import {opener.__qualname__} as opener\n"
        f"_walk_here({names!r}, opener)\n"
    )
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            timeout=_PATIENCE * limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return int(OUT_OF_TIME or 0)
    except OSError:
        return 0
    return max(0, -ended.returncode)


def _has_one_thread() -> bool:
    """Whether the process may be forked: Linux says how many threads it has, in any library."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _walk_here(names: list[str], opener: Opener) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        contained(lambda name: None)
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for name in names:
            # What is wrong with it is said by the process that asked; here it only must end.
            with contextlib.suppress(Exception), reading(name):
                opener(Path(name)).close()
    finally:
        os._exit(0)
