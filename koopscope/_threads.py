"""How many threads each matrix product may use: one, unless a pass over the weights knows better.

OpenBLAS splits small and narrow products over cores badly and waits by spinning, many times as long
on a busy machine. Talks to the library NumPy has loaded; changes no result, and does nothing where
that library is another one.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np

_NAMES = (
    "scipy_openblas_{}_num_threads64_",
    "scipy_openblas_{}_num_threads",
    "openblas_{}_num_threads64_",
    "openblas_{}_num_threads",
)


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class _Request:
    count: int


#: What was asked for and is still wanted, oldest first, behind the number before all of it.
_asked: list[_Request] = []
_lock = threading.Lock()


@contextmanager
def product_threads(count: int) -> Iterator[bool]:
    """Let each product use ``count`` threads; tells whether the library could be asked to.

    Also a decorator. The number is the whole process's: the latest who asked decides, and whoever
    is last to leave puts it back, in whatever order threads come and go.
    """
    controls = _controls()
    if controls is None:
        yield False
        return
    read, write = controls
    request = _Request(count)
    with _lock:
        if not _asked:
            _asked.append(_Request(read()))
        _asked.append(request)
        write(count)
    try:
        yield True
    finally:
        with _lock:
            _asked.remove(request)
            write(_asked[-1].count)
            if len(_asked) == 1:
                _asked.clear()


@cache
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    core = getattr(np, "_core", None) or np.core
    try:
        # Looking a name up in the extension also searches the libraries it is linked with.
        library = ctypes.CDLL(core._multiarray_umath.__file__)
    except OSError:
        return None
    for name in _NAMES:
        read = getattr(library, name.format("get"), None)
        write = getattr(library, name.format("set"), None)
        if read is not None and write is not None:
            write.restype = None
            return read, write
    return None
