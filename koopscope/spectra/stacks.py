"""Decompose the matrices of a stack, shared out over the machine's processors.

LAPACK takes one matrix after the other, and NumPy lets other threads work meanwhile. Which thread
takes which matrix changes no digit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope._threads import cores
from koopscope.spectra.gram import Products

#: Work of a stack, in cubed sizes, from which on threads are worth starting: a few milliseconds.
WORTH_THREADS = 1e7


def decomposed(
    decompose: Callable[[Products], Any], stack: Products
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return both results of ``np.linalg.eigh`` or ``np.linalg.eig`` of a stack [k, m, m]."""
    workers = min(cores(), len(stack))
    if workers <= 1 or len(stack) * float(stack.shape[1]) ** 3 < WORTH_THREADS:
        values, vectors = decompose(stack)
        return values, vectors
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(decompose, np.array_split(stack, workers)))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
