"""Trajectories whose eigenvalues are known because they are put in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Real, complex, and three of the same magnitude (0.9, 0.9 exp(+-0.7i)).
EIGENVALUES = np.array([0.97, 0.9, 0.9 * np.exp(0.7j), 0.9 * np.exp(-0.7j), -0.6, 0.3])


def trajectory(
    eigenvalues: npt.ArrayLike = EIGENVALUES,
    *,
    size: int = 3000,
    snapshots: int = 24,
    motion: float = 1.0,
    dtype: npt.DTypeLike = np.float64,
    seed: int = 0,
) -> npt.NDArray[np.floating]:
    """Return (T, N) snapshots a + motion * sum_j lambda_j^t v_j, each |v_j| about |a|.

    Complex eigenvalues must come with their conjugates.
    """
    rng = np.random.default_rng(seed)
    values = np.asarray(eigenvalues, complex)
    modes: dict[complex, npt.NDArray[np.complexfloating]] = {}
    for value in values:
        mode = rng.standard_normal(size) + 1j * rng.standard_normal(size) * (value.imag != 0)
        modes[complex(value)] = np.conj(modes.get(complex(np.conj(value)), np.conj(mode)))
    powers = values[None, :] ** np.arange(snapshots)[:, None]
    moving = (powers @ np.array([modes[complex(value)] for value in values])).real
    return (rng.standard_normal(size) + motion * moving).astype(dtype)


def distance(found: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Largest error over the true eigenvalues, each matched to the nearest one found."""
    found, true = np.asarray(found, complex), np.asarray(true, complex)
    return float(np.abs(found[None, :] - true[:, None]).min(axis=1).max())
