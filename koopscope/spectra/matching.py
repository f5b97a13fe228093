"""Which eigenvalue of one spectrum is which of another: one-to-one matching by distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64


def matching(candidates: Complex128, reference: Complex128) -> npt.NDArray[np.intp]:
    """Return [n, r]: for each row of candidates, which entry is the counterpart of reference j.

    Parameters
    ----------
    candidates
        complex128 [n, r], n spectra.
    reference
        complex128 [r].

    Notes
    -----
    Closest pairs first, then exchanges of two partners for as long as one of them shortens the
    total distance: for the tight clouds of resampled spectra this is the optimal assignment, and it
    runs on all n spectra at once (scipy's solver would take one at a time, and longer to import
    than all of it takes to run).
    """
    count, rank = candidates.shape
    distances = np.abs(candidates[:, :, None] - reference)
    rows = np.arange(count)
    taken = np.empty((count, rank), np.intp)
    open_distances = distances.copy()
    for _ in range(rank):
        flat = open_distances.reshape(count, -1).argmin(axis=1)
        candidate, partner = np.divmod(flat, rank)
        taken[rows, partner] = candidate
        open_distances[rows, candidate, :] = np.inf
        open_distances[rows, :, partner] = np.inf
    _exchange(distances, taken)
    return taken


def matched(candidates: Complex128, reference: Complex128) -> Complex128:
    """Return [rows, r]: candidates reordered so that entry j is the counterpart of reference j."""
    return np.take_along_axis(candidates, matching(candidates, reference), axis=1)


def conjugates(eigenvalues: Complex128) -> npt.NDArray[np.intp]:
    """Return int [r]: where each eigenvalue's conjugate is; without one, where it is itself.

    Conjugate pairs must be neighbours, positive imaginary part first, as ``Spectrum`` has them.
    Eigenvalues of complex data have no conjugates.
    """
    own = np.arange(len(eigenvalues))
    beside = np.clip(own + np.sign(eigenvalues.imag).astype(np.intp), 0, max(0, len(own) - 1))
    are_pairs = eigenvalues[beside] == eigenvalues.conj()
    partners: npt.NDArray[np.intp] = np.where(are_pairs, beside, own)
    return partners


def _exchange(distances: Float64, taken: npt.NDArray[np.intp]) -> None:
    """Swap partners in place while a swap shortens the total distance."""
    count, rank = taken.shape
    rows = np.arange(count)
    for _ in range(rank):
        improved = False
        for first in range(rank):
            for second in range(first + 1, rank):
                a, b = taken[:, first].copy(), taken[:, second].copy()
                now = distances[rows, a, first] + distances[rows, b, second]
                then = distances[rows, b, first] + distances[rows, a, second]
                better = then < now * (1.0 - 1e-12)
                if better.any():
                    improved = True
                    taken[better, first], taken[better, second] = b[better], a[better]
        if not improved:
            return
