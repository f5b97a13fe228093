"""Complex weights as complex numbers, or as pairs of reals: which law predicts training better?

Small complex-valued networks are trained, and a spectrum fitted to the first two thirds of each run
predicts the last third, once from Hermitian inner products and once from those of the pairs.

    python -m benchmarks.complex_weights
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.heldout import held_out

SEEDS, EPOCHS, HIDDEN = 8, 60, 24


class ModulusReLU(nn.Module):
    """z -> relu(|z| + b) z / |z| (Arjovsky, Shah, Bengio 2016)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.full((size,), -0.05))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        length = z.abs() + 1e-6
        return torch.relu(length + self.bias) * z / length


def trained(optimizer: str, seed: int) -> np.ndarray:
    """Return complex128 [EPOCHS + 1, N]: all complex weights of a network, epoch by epoch."""
    torch.manual_seed(seed)
    x = torch.randn(256, 8, dtype=torch.complex64)
    mixing = torch.randn(8, 4, dtype=torch.complex64)
    target = (x @ mixing) * (x @ mixing).abs() / 4.0
    network = nn.Sequential(
        nn.Linear(8, HIDDEN, dtype=torch.complex64),
        ModulusReLU(HIDDEN),
        nn.Linear(HIDDEN, 4, dtype=torch.complex64),
    )
    steps = {
        "SGD": lambda p: torch.optim.SGD(p, lr=0.02),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.005, momentum=0.9),
        "Adam": lambda p: torch.optim.Adam(p, lr=2e-3),
    }[optimizer](network.parameters())
    series = []
    for _ in range(EPOCHS + 1):
        weights = [p.detach().reshape(-1) for p in network.parameters() if p.is_complex()]
        series.append(torch.cat(weights).to(torch.complex128).numpy().copy())
        order = torch.randperm(len(x))
        for batch in order.split(64):
            loss = (network(x[batch]) - target[batch]).abs().square().mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
    return np.array(series)


def judged(gram: SnapshotGram, observable: str) -> tuple[float, int]:
    """Return the held-out error relative to "no change", and the rank."""
    spectrum = dmd(gram, observable)
    error = held_out(gram.observable(observable), observable, spectrum.eigenvalues).error
    return error, spectrum.rank


def main() -> None:
    """Print the table of docs/evidence/numerics.md."""
    torch.set_num_threads(1)
    print("| optimizer | observable | complex | pairs | pairs better in |")
    print("|---|---|---|---|---|")
    for optimizer in ("SGD", "momentum", "Adam"):
        grams = [gram_of(trained(optimizer, seed)) for seed in range(SEEDS)]
        for observable in ("increments", "weights"):
            whole = np.array([judged(gram, observable) for gram in grams])
            parts = np.array([judged(gram.of_pairs(), observable) for gram in grams])
            better = int((parts[:, 0] < whole[:, 0]).sum())
            print(
                f"| {optimizer} | {observable} | {np.median(whole[:, 0]):.3f} "
                f"(rank {np.median(whole[:, 1]):.0f}) | {np.median(parts[:, 0]):.3f} "
                f"(rank {np.median(parts[:, 1]):.0f}) | {better} of {SEEDS} |"
            )


if __name__ == "__main__":
    main()
