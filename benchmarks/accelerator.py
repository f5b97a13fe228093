"""What ``KoopmanAccelerator`` costs next to an Adam step of the same network, by size.

A step, a copy, a jump and a look come from one run, in turns, so that their ratios hold on a busy
machine too.

    python -m benchmarks.accelerator      # a minute on one core
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor, nn

import koopscope

WIDTHS = (64, 224, 708, 2236)
EPOCHS = 20


@dataclass
class Times:
    """Seconds of processor time."""

    steps: list[float] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)


def measured(width: int, look: bool) -> tuple[int, Times]:
    """Return the number of weights, and what steps, copies and jumps, or looks, took."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    inputs = torch.randn(32, width)

    def loss_now() -> Tensor:
        return (net(inputs) - inputs.cumsum(1) / width).pow(2).mean()

    accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=loss_now if look else None)
    times = Times()
    for _ in range(EPOCHS):
        began = time.process_time()
        loss = loss_now()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stepped = time.process_time()
        asked = accelerator.report().questions
        worked = accelerator.after_epoch(loss) or accelerator.report().questions > asked
        (times.jumps if worked else times.copies).append(time.process_time() - stepped)
        times.steps.append(stepped - began)
    return sum(p.numel() for p in net.parameters()), times


def main() -> None:
    torch.set_num_threads(1)
    print("| weights | one Adam step, batch of 32 | a copy | a jump | a look |")
    print("|---|---|---|---|---|")
    for width in WIDTHS:
        weights, plain = measured(width, look=False)
        _, looking = measured(width, look=True)
        step = median(plain.steps)
        copy, jump = (median(t) / step for t in (plain.copies, plain.jumps))
        look = median(looking.jumps) / median(looking.steps)
        print(
            f"| {weights:,} | {1e3 * step:.2g} ms | {copy:.1f} steps | {jump:.1f} steps "
            f"| {look:.1f} steps |",
            flush=True,
        )


if __name__ == "__main__":
    main()
