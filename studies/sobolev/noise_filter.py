"""What a noise filter along time does to eigenvalues, on simulated systems that are known.

Sensor noise is added to every snapshot; process noise drives the system itself, as single-batch
steps do. The rank is told to every method. The error is the mean distance of the eigenvalues found
from the true ones, each matched to one; the median over seeds.

    python -m studies.sobolev.noise_filter      # about two minutes on one core
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.noise import filter_matrix, sobolev_kernel

HERE = Path(__file__).parent
SEEDS = range(10)
WEIGHTS = 200

SYSTEMS = {
    "slow": np.array([0.995, 0.97, 0.9], complex),
    "turning": np.array([0.98, 0.95 * np.exp(0.3j), 0.95 * np.exp(-0.3j)]),
    "mixed": np.array([0.99, 0.9, 0.95 * np.exp(0.6j), 0.95 * np.exp(-0.6j), 0.5]),
}
NOISES = {
    "none": ("sensor", 0.0),
    "sensor 1%": ("sensor", 0.01),
    "sensor 10%": ("sensor", 0.1),
    "sensor 30%": ("sensor", 0.3),
    "process 3%": ("process", 0.03),
    "process 10%": ("process", 0.1),
}

Array = np.ndarray
Method = Callable[[Array, int], Array]


def simulated(eigenvalues: Array, snapshots: int, noise: tuple[str, float], seed: int) -> Array:
    """Return [T, N]: each mode starts with norm about 1, on top of a constant of the same norm."""
    rng = np.random.default_rng(seed)
    kind, size = noise
    modes = rng.standard_normal((WEIGHTS, len(eigenvalues))).astype(complex)
    for j, value in enumerate(eigenvalues):
        if value.imag > 0.0:
            modes[:, j] += 1j * rng.standard_normal(WEIGHTS)
        elif value.imag < 0.0:
            modes[:, j] = modes[:, j - 1].conj()
    state = np.ones(len(eigenvalues), complex)
    to_modes = np.linalg.pinv(modes)
    moving = []
    for _ in range(snapshots):
        moving.append((modes @ state).real)
        state = eigenvalues * state
        if kind == "process":
            state = state + to_modes @ (size * rng.standard_normal(WEIGHTS))
    values = np.array(moving) + rng.standard_normal(WEIGHTS)
    if kind == "sensor":
        values = values + size * rng.standard_normal(values.shape)
    return values / np.sqrt(WEIGHTS)


def averaged(kernel: Array) -> Callable[[Array], Array]:
    return lambda snapshots: filter_matrix(kernel, len(snapshots)) @ snapshots


def ours(
    observable: str, before: Callable[[Array], Array] = lambda snapshots: snapshots, delay: int = 1
) -> Method:
    """Return exact DMD as koopscope computes it, after something is done to the snapshots."""
    extra = 0 if observable == "increments" else 1  # the constant brings an eigenvalue 1

    def eigenvalues(snapshots: Array, rank: int) -> Array:
        spectrum = dmd(gram_of(before(snapshots)), observable, rank=rank + extra, delay=delay)
        return spectrum.eigenvalues

    return eigenvalues


def total_least_squares(observable: str) -> Method:
    """Return DMD of pairs projected onto their joint leading directions (Hemati et al. 2017)."""

    def eigenvalues(snapshots: Array, rank: int) -> Array:
        if observable == "increments":
            series = np.diff(snapshots, axis=0)
        else:
            moved = snapshots - snapshots[0]
            constant = np.sqrt((moved**2).sum(1).mean())
            series = np.column_stack([moved, np.full(len(moved), constant)])
            rank += 1
        scales = np.linalg.norm(series[:-1], axis=1)
        scales[scales == 0.0] = 1.0
        X, Y = (series[:-1].T / scales), (series[1:].T / scales)
        V = np.linalg.svd(np.vstack([X, Y]), full_matrices=False)[2][:rank]
        U, S, W = np.linalg.svd(X @ V.T, full_matrices=False)
        return np.linalg.eigvals(U[:, :rank].T @ Y @ V.T @ W[:rank].T / S[:rank])

    return eigenvalues


METHODS: dict[str, Method] = {}
for name in ("increments", "weights"):
    METHODS[name] = ours(name)
    METHODS[f"{name}, total least squares"] = total_least_squares(name)
    METHODS[f"{name}, 10 delays"] = ours(name, delay=10)
    for width in (5, 9, 17):
        METHODS[f"{name}, moving average of {width}"] = ours(name, averaged(np.ones(width) / width))
    METHODS[f"{name}, sobolev"] = ours(name, averaged(sobolev_kernel()))
for length, reach in ((1.0, 8), (2.0, 8), (5.0, 8), (3.0, 4), (3.0, 12)):
    METHODS[f"increments, sobolev of length {length:g}, reach {reach}"] = ours(
        "increments", averaged(sobolev_kernel(length, reach))
    )


def error(found: Array, true: Array) -> float:
    distances = np.abs(found[:, None] - true)
    return float(distances[linear_sum_assignment(distances)].mean())


def main() -> None:
    rows = []
    for snapshots in (40, 80):
        for system, true in SYSTEMS.items():
            for noise, settings in NOISES.items():
                runs = [simulated(true, snapshots, settings, seed) for seed in SEEDS]
                for method, eigenvalues in METHODS.items():
                    errors = [error(eigenvalues(run, len(true)), true) for run in runs]
                    rows.append(
                        {
                            "snapshots": snapshots,
                            "system": system,
                            "noise": noise,
                            "method": method,
                            "median_error": f"{np.median(errors):.3g}",
                            "worst_error": f"{np.max(errors):.3g}",
                        }
                    )
            print(f"{snapshots} snapshots, {system}: done", file=sys.stderr)
    with open(HERE / "noise_filter.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
