"""Ways to spoil the start of a network that are known from practice to go wrong."""

from __future__ import annotations

import torch
from torch import nn

from studies.yardstick.plan import SPOILED


@torch.no_grad()
def spoil(net: nn.Module, start: str, seed: int) -> None:
    """Overwrite the default start of the trained parameters; leave unknown words to the caller."""
    if start not in SPOILED:
        return
    trained = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    matrices = [p for _, p in trained if p.ndim >= 2]
    vectors = [p for name, p in trained if p.ndim == 1 and "bias" in name]
    generator = torch.Generator().manual_seed(seed)
    one = matrices[int(torch.randint(0, len(matrices), (1,), generator=generator))]
    if start == "tiny":
        for p in matrices + vectors:
            p.mul_(1e-3)
    elif start == "huge":
        for p in matrices:
            p.mul_(8.0)
    elif start == "zero":
        for p in matrices + vectors:
            p.zero_()
    elif start == "symmetric":  # all units of a layer start alike
        for p in matrices:
            p.copy_(p.mean(0, keepdim=True).expand_as(p) + 0.05)
        for p in vectors:
            p.fill_(0.01)
    elif start == "dead":  # rectifiers that never open
        for p in vectors[:-1]:
            p.fill_(-12.0)
    elif start == "constant":
        for p in matrices:
            p.fill_(0.1)
    elif start in ("one_zero", "one_huge", "one_tiny"):
        one.mul_({"one_zero": 0.0, "one_huge": 40.0, "one_tiny": 1e-4}[start])
    elif start == "first_zero":
        matrices[0].zero_()
    elif start == "last_huge":
        matrices[-1].mul_(50.0)
    elif start == "low_rank":  # every matrix of rank one
        for p in matrices:
            flat = p.reshape(p.shape[0], -1)
            u, v = flat.norm(dim=1, keepdim=True), flat[:1] / (flat[:1].norm() + 1e-12)
            p.copy_((u * v).reshape(p.shape))
    elif start == "saturated":
        for p in vectors:
            p.fill_(8.0)
    elif start == "alternating":  # every second layer is ten times too large
        for p in matrices[::2]:
            p.mul_(10.0)
        for p in matrices[1::2]:
            p.mul_(0.02)
    else:  # sparse: one weight in thirty is kept
        for p in matrices:
            p.mul_((torch.rand(p.shape, generator=generator) < 1.0 / 30.0).float())


def freeze_some(net: nn.Module, seed: int) -> None:
    """Freeze all parameters of one module that has any, but not of the only one."""
    owners: dict[str, list[nn.Parameter]] = {}
    for name, p in net.named_parameters():
        if p.requires_grad:
            owners.setdefault(name.rpartition(".")[0], []).append(p)
    if len(owners) > 1:
        names = sorted(owners)
        generator = torch.Generator().manual_seed(seed)
        for p in owners[names[int(torch.randint(0, len(names), (1,), generator=generator))]]:
            p.requires_grad_(False)
