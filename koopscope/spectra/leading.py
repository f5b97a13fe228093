"""The leading eigenpairs of a large symmetric matrix, to rounding, without the others.

A block Krylov space with full orthogonalization (block Lanczos; Golub and Van Loan 2013, sec. 10.3)
holds them after a fraction of the work of a whole decomposition where they stand out. Every pair
that is returned as settled has been held against the matrix; where the space would have to become
large, nothing is returned, and a direct solver is the better use of the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64

#: Up to this size a direct solver takes a few milliseconds.
DIRECT_UP_TO = 300

#: Largest |A v - theta v| of a settled pair, relative to the largest eigenvalue: what rounding
#: leaves of a decomposition by LAPACK, too.
TOLERANCE = 1e-12

#: Largest |A v - theta v| over theta of an eigenvalue that is given without its vector.
VALUE_TOLERANCE = 1e-3

#: Vectors that are multiplied at once: one reading of the matrix serves all of them.
_BLOCK = 4

#: The space may reach this part of the matrix' size.
_LARGEST_PART = 0.2

#: Blocks between two looks at the pairs.
_BETWEEN = 4

#: Largest product of two vectors of the basis that counts as orthogonal.
_ORTHOGONAL = 1e-12


@dataclass(frozen=True)
class Leading:
    """Leading eigenpairs of a symmetric matrix.

    Attributes
    ----------
    values
        float64 [k], descending: the wanted ones to rounding, and further ones to a relative
        ``VALUE_TOLERANCE`` or better.
    vectors
        float64 [m, r], of the r wanted ones: orthonormal columns.
    """

    values: Float64
    vectors: Float64


def leading_pairs(
    matrix: Float64, scales: Float64, wanted: int, largest: int | None = None
) -> Leading | None:
    """Return the leading eigenpairs of matrix / scales[:, None] / scales, or ``None``.

    Parameters
    ----------
    matrix
        float64 [m, m], symmetric and positive semi-definite.
    scales
        float64 [m]; the scaled matrix is never held.
    wanted
        How many pairs are needed.
    largest
        Vectors the Krylov space may hold, ``_LARGEST_PART`` of m by default. ``None`` is returned
        where they do not settle the pairs.
    """
    size = len(matrix)
    most = int(_LARGEST_PART * size) if largest is None else largest
    if wanted + _BLOCK > most:
        return None
    space = _Space(matrix, scales, most + _BLOCK)
    while space.count + _BLOCK <= most:
        if not space.grow():
            return None
        blocks = space.count // _BLOCK
        if space.inner < wanted or (blocks % _BETWEEN and not space.is_invariant):
            continue
        found = space.pairs(wanted)
        if found is not None:
            return found
        if space.is_invariant:
            return None
    return None


class _Space:
    """An orthonormal basis q_1, q_2, ... of a Krylov space, and the matrix restricted to it."""

    def __init__(self, matrix: Float64, scales: Float64, most: int) -> None:
        self._matrix, self._scales = matrix, scales
        self._basis = np.empty((most, len(matrix)))
        self._restricted = np.zeros((most, most))
        start = np.random.default_rng(0).standard_normal((len(matrix), _BLOCK))
        self._basis[:_BLOCK] = np.linalg.qr(start)[0].T
        self._last: Float64 = np.zeros((_BLOCK, _BLOCK))
        self.count = _BLOCK
        #: Vectors whose images are known.
        self.inner = 0

    def _image(self, rows: Float64) -> Float64:
        image: Float64 = (self._matrix @ (rows / self._scales).T).T / self._scales
        return image

    def grow(self) -> bool:
        """Add a block; return whether it could be made orthogonal to the others."""
        known = self._basis[: self.count]
        image = self._image(known[-_BLOCK:])
        products = known @ image.T
        image -= products.T @ known
        again = known @ image.T
        image -= again.T @ known
        self._restricted[: self.count, self.inner : self.count] = products + again
        new, self._last = np.linalg.qr(image.T)
        # What is left may be rounding alone, in any direction: that of a matrix of low rank is.
        for _ in range(3):
            overlaps = known @ new
            if np.abs(overlaps).max() <= _ORTHOGONAL:
                break
            new, turned = np.linalg.qr(new - known.T @ overlaps)
            self._last = turned @ self._last
        else:
            return False
        self._basis[self.count : self.count + _BLOCK] = new.T
        self.inner = self.count
        self.count += _BLOCK
        return True

    @property
    def is_invariant(self) -> bool:
        """Whether images of the basis lie in it but for rounding."""
        scale = np.abs(self._restricted[: self.inner, : self.inner]).max()
        return bool(np.abs(self._last).max() <= TOLERANCE * scale)

    def pairs(self, wanted: int) -> Leading | None:
        """Return the leading pairs if so many are settled."""
        upper = np.triu(self._restricted[: self.inner, : self.inner])
        values, inside = np.linalg.eigh(upper + np.triu(upper, 1).T)
        values, inside = values[::-1], inside[:, ::-1]
        off = np.linalg.norm(self._last @ inside[-_BLOCK:], axis=0)
        limit = TOLERANCE * values[0]
        if not (off[:wanted] <= limit).all():
            return None
        vectors: Float64 = self._basis[: self.inner].T @ inside[:, :wanted]
        residuals = self._image(vectors.T).T - values[:wanted] * vectors
        if not (np.linalg.norm(residuals, axis=0) <= 10.0 * limit).all():
            return None
        settled = off <= VALUE_TOLERANCE * np.maximum(values, 0.0)
        known = len(settled) if settled.all() else int(np.argmin(settled))
        return Leading(values[: max(known, wanted)], vectors)
