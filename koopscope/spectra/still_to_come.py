"""Geometric series: how far modes that decay by a constant factor have still to go.

A mode that moves the weights by b and then by b lambda, b lambda^2, ... adds up to
b / (1 - lambda). Works on eigenvalues and coordinates alone.
"""

from __future__ import annotations

import numpy as np

from koopscope._types import Complex128, Float64
from koopscope.spectra.dmd import Spectrum

#: Eigenvalues nearer to 1 than this are a straight drift, whose series has no limit.
DRIFT_GAP = 1e-9

#: Slower modes are taken to be this slow where a limit is asked for.
SLOWEST = 0.995


def geometric_sum(
    first: Complex128, eigenvalues: Complex128, terms: Float64 | None = None
) -> Complex128:
    """Return first + first lambda + first lambda^2 + ... of each mode.

    Parameters
    ----------
    first
        complex128 [..., r], what each mode adds first.
    eigenvalues
        complex128 [..., r].
    terms
        float64 [h], how many terms are added up; without them the series is summed to its end,
        where a drift counts as if it ended after ``1 / DRIFT_GAP`` terms.

    Returns
    -------
    complex128 [..., r], or [..., r, h] with ``terms``; there a drift adds 1 at every term.
    """
    gaps = 1.0 - eigenvalues
    if terms is None:
        limit: Complex128 = first / np.where(np.abs(gaps) > DRIFT_GAP, gaps, DRIFT_GAP)
        return limit
    drifting = np.abs(gaps) < DRIFT_GAP
    rate = np.where(drifting, 0.0, first / np.where(drifting, 1.0, gaps))
    summed: Complex128 = np.where(
        drifting[..., None],
        terms.astype(np.complex128),
        rate[..., None] * (1.0 - eigenvalues[..., None] ** terms),
    )
    return summed


def bounded(eigenvalues: Complex128) -> Complex128:
    """Return complex128 [r]: eigenvalues, those beyond ``SLOWEST`` moved back along their rays."""
    magnitudes = np.maximum(np.abs(eigenvalues), np.finfo(float).tiny)
    slowed: Complex128 = eigenvalues * np.minimum(1.0, SLOWEST / magnitudes)
    return slowed


def last_coordinates(spectrum: Spectrum) -> Complex128:
    """Return complex128 [r]: the last value of a spectrum's observable, expanded in the modes."""
    last = spectrum.trajectory[:, -1].astype(complex)
    solved = np.linalg.lstsq(spectrum.eigenvectors, last, rcond=None)[0]
    return np.asarray(solved, np.complex128)


def limit_of_modes(spectrum: Spectrum) -> Complex128:
    """Return complex128 [r]: what each mode of the increments adds from the last one on, bounded.

    The last increment has been made, so each mode goes on with b lambda.
    """
    slowed = bounded(spectrum.eigenvalues)
    return geometric_sum(last_coordinates(spectrum) * slowed, slowed)
