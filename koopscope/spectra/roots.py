"""Singular values and right singular vectors of data that are known by their inner products.

Of many matrices of one size at once: they are decomposed in a stack. Of a large one only the
leading part, where no more is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from koopscope._types import Float64
from koopscope.spectra.gram import Products
from koopscope.spectra.leading import DIRECT_UP_TO, leading_pairs
from koopscope.spectra.stacks import decomposed


def roots(
    products: Sequence[Products], scales: Sequence[Float64], leading: Sequence[int | None]
) -> list[tuple[Float64, Products]]:
    """Return the singular values, descending, and right singular vectors of scaled columns.

    Parameters
    ----------
    products
        [m, m] each, X^* X of one of the data X.
    scales
        float64 [m] each, by which the columns of X are divided.
    leading
        How many directions are needed of each; all by default. See ``koopscope.spectra.leading``.
    """
    if len(products[0]) > DIRECT_UP_TO:
        return [_root(*each) for each in zip(products, scales, leading, strict=True)]
    stack = np.array([p / s[:, None] / s for p, s in zip(products, scales, strict=True)])
    values, vectors = decomposed(np.linalg.eigh, (stack + stack.conj().swapaxes(1, 2)) / 2.0)
    singular = np.sqrt(np.maximum(values[:, ::-1], 0.0))
    # Copies, which do not keep the stack in memory as long as one of them is needed.
    return [(own.copy(), right[:, ::-1]) for own, right in zip(singular, vectors, strict=True)]


def _root(products: Products, scales: Float64, leading: int | None) -> tuple[Float64, Products]:
    if leading is not None and np.isrealobj(products):
        found = leading_pairs(products, scales, max(1, leading))
        if found is not None:
            return np.sqrt(np.maximum(found.values, 0.0)), found.vectors
    squares = products / scales[:, None] / scales
    values, right = np.linalg.eigh((squares + squares.conj().T) / 2.0)
    return np.sqrt(np.maximum(values[::-1], 0.0)), right[:, ::-1]
