"""Which loss reconstructs a multi-scale signal under white noise, and in which frequency bands.

One network, one optimizer and one number of steps for all; only the loss (or what is done to the
data before it) differs. Everything that is random differs from seed to seed: the phases of the
signal, the noise, the initial weights, the points held out for early stopping.

    python -m studies.sobolev.reconstruction      # about ten minutes on one core
"""

from __future__ import annotations

import csv
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from koopscope.sobolev.torch import grid_loss

HERE = Path(__file__).parent
BANDS = (1, 4, 16, 64)
NOISE_DB = (10, 0, -10, -20)
SEEDS = range(5)
POINTS = 4096
STEPS = 400
FREQUENCIES = 80  # of the network's input features: above the highest band, far below the noise's
WIDTH = 48
LOW_PASS = 80  # cycles: knows where the signal ends, which no other method is told
CHECK_EVERY = 5

#: What each method minimises: the order s of the H^-s norm.
ORDERS = {
    "mean square": 0.0,
    "H^-1/4": 0.25,
    "H^-1/2": 0.5,
    "H^-1": 1.0,
    "early stopping": 0.0,
    "low-pass": 0.0,
}


def signals(noise_db: int) -> tuple[np.ndarray, np.ndarray]:
    """Return clean and noisy signals, both [seeds, points]; every band has power 1/2."""
    x = np.arange(POINTS) / POINTS
    clean, noisy = [], []
    for seed in SEEDS:
        rng = np.random.default_rng([seed, noise_db + 100])
        phases = rng.uniform(0, 2 * np.pi, len(BANDS))
        waves = [np.cos(2 * np.pi * k * x + phase) for k, phase in zip(BANDS, phases, strict=True)]
        signal = np.sum(waves, axis=0)
        power = len(BANDS) / 2 * 10 ** (-noise_db / 10)
        clean.append(signal)
        noisy.append(signal + rng.normal(0, np.sqrt(power), POINTS))
    return np.array(clean), np.array(noisy)


class Networks(torch.nn.Module):
    """One small network per seed, run side by side: periodic features and two hidden layers."""

    def __init__(self) -> None:
        super().__init__()
        x = torch.arange(POINTS) / POINTS
        angles = 2 * np.pi * torch.arange(1, FREQUENCIES + 1)[:, None] * x
        features = torch.cat([torch.cos(angles), torch.sin(angles)]).T
        self.register_buffer("features", features.expand(len(SEEDS), -1, -1).contiguous())
        sizes = [2 * FREQUENCIES, WIDTH, WIDTH, 1]
        self.weights = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            draws = []
            for seed in SEEDS:
                generator = torch.Generator().manual_seed(1000 * seed + len(self.weights))
                draws.append(torch.randn(fan_in, fan_out, generator=generator) / fan_in**0.5)
            self.weights.append(torch.nn.Parameter(torch.stack(draws)))
            self.biases.append(torch.nn.Parameter(torch.zeros(len(SEEDS), 1, fan_out)))

    def forward(self) -> torch.Tensor:
        hidden = self.features
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if layer < len(self.weights) - 1:
                hidden = torch.tanh(hidden)
        return hidden[..., 0]


def low_passed(noisy: np.ndarray) -> np.ndarray:
    coefficients = np.fft.rfft(noisy)
    coefficients[:, LOW_PASS + 1 :] = 0.0
    return np.fft.irfft(coefficients, POINTS)


def train(method: str, noisy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the reconstructions [seeds, points] and the step each of them was taken from."""
    target = torch.tensor(low_passed(noisy) if method == "low-pass" else noisy).float()
    networks = Networks()
    optimizer = torch.optim.Adam(networks.parameters(), lr=3e-3)
    held_out = torch.stack(
        [
            torch.rand(POINTS, generator=torch.Generator().manual_seed(seed + 77)) < 0.2
            for seed in SEEDS
        ]
    )
    best = torch.full((len(SEEDS),), torch.inf)
    kept, kept_step = torch.zeros_like(target), torch.zeros(len(SEEDS))
    for step in range(STEPS + 1):
        prediction = networks()
        if method == "early stopping":
            error = (prediction - target).square()
            loss = error[~held_out].mean()
            if step % CHECK_EVERY == 0:
                seen = (error.detach() * held_out).sum(1) / held_out.sum(1)
                better = seen < best
                best = torch.where(better, seen, best)
                kept[better], kept_step[better] = prediction.detach()[better], float(step)
        else:
            loss = grid_loss(prediction, target, ORDERS[method], dimension=1)
        if step < STEPS:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if method == "early stopping":
        return kept.numpy().astype(np.float64), kept_step.numpy()
    return prediction.detach().numpy().astype(np.float64), np.full(len(SEEDS), STEPS)


def errors(reconstruction: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """Return energies of the error, each relative to the signal there, [seeds].

    ``at_k``: at the signal's frequency k itself. ``band_k``: in the octave around it, so that noise
    let through beside the signal counts. ``outside``: in none of the octaves, relative to the whole
    signal, as is ``total``.
    """
    power = np.abs(np.fft.rfft(reconstruction - clean) / POINTS) ** 2 * 2
    power[:, 0] /= 2
    frequency = np.arange(power.shape[1])
    outside = np.ones(len(frequency), bool)
    found = {f"at_{k}": power[:, k] / 0.5 for k in BANDS}
    for k in BANDS:
        octave = (frequency > k / np.sqrt(2)) & (frequency < k * np.sqrt(2))
        found[f"band_{k}"] = power[:, octave].sum(1) / 0.5
        outside &= ~octave
    whole = len(BANDS) / 2
    return found | {"outside": power[:, outside].sum(1) / whole, "total": power.sum(1) / whole}


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    started = time.process_time()
    for noise_db in NOISE_DB:
        clean, noisy = signals(noise_db)
        results = {"the noisy data": (noisy, np.zeros(len(SEEDS)))}
        results |= {method: train(method, noisy) for method in ORDERS}
        for method, (reconstruction, steps) in results.items():
            found = errors(reconstruction, clean)
            for seed in SEEDS:
                row = {"snr_db": noise_db, "method": method, "seed": seed, "step": int(steps[seed])}
                rows.append(row | {name: f"{value[seed]:.5g}" for name, value in found.items()})
            summary = " ".join(f"{name} {np.median(value):.3g}" for name, value in found.items())
            seconds = time.process_time() - started
            print(f"{noise_db:4d} dB {method:15s} {summary} [{seconds:.0f} s]", file=sys.stderr)
    with open(HERE / "reconstruction.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
