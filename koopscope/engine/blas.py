"""How many threads each matrix product may use while a pass keeps the cores busy by itself.

OpenBLAS splits a narrow product over cores badly and waits by spinning, so a pass runs one product
per core instead. Talks to the library NumPy has loaded; must never change a result, and does
nothing where that library is another one.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def product_threads(count: int) -> Iterator[bool]:
    """Let each product use ``count`` threads; tells whether the library could be asked to."""
    found = _controls()
    if found is None:
        yield False
        return
    read, write = found
    before = read()
    write(count)
    try:
        yield True
    finally:
        write(before)


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
