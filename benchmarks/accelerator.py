"""What ``KoopmanAccelerator`` costs: a copy and a jump, next to an Adam step, by size.

python -m benchmarks.accelerator      # half a minute on one core
"""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import nn

import koopscope

WIDTHS = (64, 224, 708, 2236)
EPOCHS = 15


def measured(width: int) -> tuple[int, float, float, float]:
    """Return the weights, and ms of processor time of an Adam step, a copy and a jump."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    inputs = torch.randn(32, width)
    steps, copies, jumps = [], [], []
    for _ in range(EPOCHS):
        began = time.process_time()
        loss = (net(inputs) - inputs.cumsum(1) / width).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stepped = time.process_time()
        jumped = accelerator.after_epoch(loss)
        (jumps if jumped else copies).append(time.process_time() - stepped)
        steps.append(stepped - began)
    weights = sum(p.numel() for p in net.parameters())
    return weights, *(1e3 * median(times) for times in (steps, copies, jumps))


def main() -> None:
    torch.set_num_threads(1)
    print("| weights | one Adam step, batch of 32 | copying | jump |\n|---|---|---|---|")
    for width in WIDTHS:
        weights, step, copy, jump = measured(width)
        print(f"| {weights:,} | {step:.2g} ms | {copy:.2g} ms | {jump:.2g} ms |", flush=True)


if __name__ == "__main__":
    main()
