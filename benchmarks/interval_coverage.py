"""How often the 90% intervals hold the true |lambda|: simulated systems driven by process noise.

Each system is r-dimensional, seen through an orthonormal map in 60 dimensions with a little noise
outside, and analysed from its weights as any run is. Prints the table in docs/evidence/numerics.md.

    python -m benchmarks.interval_coverage [REPETITIONS]
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.matching import matching
from koopscope.spectra.uncertainty import uncertainty

Array = npt.NDArray[np.floating]

#: name -> eigenvalues, and how far the start is outside of the noise.
SYSTEMS: dict[str, tuple[list[complex], float]] = {
    "stationary": ([0.95, 0.8 * np.exp(0.5j), 0.8 * np.exp(-0.5j), 0.5], 0.0),
    "decaying": ([0.97, 0.85, 0.5], 30.0),
    "nearly still": ([0.995, 0.9], 20.0),
    "swinging": ([0.98 * np.exp(0.3j), 0.98 * np.exp(-0.3j), 0.7], 10.0),
}
LENGTHS = (32, 62, 102)
SIZE = 60


def operator(eigenvalues: list[complex], rng: np.random.Generator) -> Array:
    """A real, not normal matrix with these eigenvalues."""
    rank = len(eigenvalues)
    blocks = np.zeros((rank, rank))
    for j, value in enumerate(eigenvalues):
        blocks[j, j] = np.real(value)
        if np.imag(value) > 0.0:
            blocks[j, j + 1], blocks[j + 1, j] = -np.imag(value), np.imag(value)
    mixing = np.eye(rank) + 0.3 * rng.standard_normal((rank, rank))
    return mixing @ blocks @ np.linalg.inv(mixing)


def weights(A: Array, start: float, snapshots: int, rng: np.random.Generator) -> Array:
    """(T, N) whose increments follow y' = A y + noise."""
    rank = len(A)
    state = np.full(rank, start)
    for _ in range(0 if start else 300):
        state = A @ state + rng.standard_normal(rank)
    increments = []
    for _ in range(snapshots - 1):
        increments.append(state)
        state = A @ state + rng.standard_normal(rank)
    embedding = np.linalg.qr(rng.standard_normal((SIZE, rank)))[0]
    moved = np.array(increments) @ embedding.T
    moved += 1e-3 * rng.standard_normal(moved.shape)
    return np.vstack([np.zeros(SIZE), moved.cumsum(axis=0)])


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    everything = []
    print("| system | snapshots | true magnitudes | coverage of each | together |")
    print("|---|---|---|---|---|")
    for name, (eigenvalues, start) in SYSTEMS.items():
        A = operator(eigenvalues, np.random.default_rng(7))
        true = np.linalg.eigvals(A).astype(complex)
        for snapshots in LENGTHS:
            held = []
            for repetition in range(repetitions):
                rng = np.random.default_rng((repetition, snapshots))
                spectrum = dmd(gram_of(weights(A, start, snapshots, rng)), rank=len(A))
                order = matching(spectrum.eigenvalues[None], true)[0]
                known = uncertainty(spectrum)
                low, high = known.magnitude_low[order], known.magnitude_high[order]
                held.append((low <= np.abs(true)) & (np.abs(true) <= high))
            everything.append(np.mean(held))
            each = ", ".join(f"{share:.0%}" for share in np.mean(held, axis=0))
            sizes = ", ".join(f"{abs(value):.3g}" for value in true)
            print(f"| {name} | {snapshots} | {sizes} | {each} | {np.mean(held):.0%} |", flush=True)
    print(f"all systems: {np.mean(everything):.1%}, nominal 90%")


if __name__ == "__main__":
    main()
