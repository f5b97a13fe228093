"""Write ``zero3.zip`` for the tests: checkpoints of ZeRO stage 3, and what DeepSpeed joins them to.

Run by hand, once for each of three ranks: ``DS_ACCELERATOR=cpu python studies/reading/zero3.py RANK
FOLDER``; then once with ``pack`` in place of the rank. What is committed is DeepSpeed 0.19.8's.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

RANKS, STEPS = 3, (3, 6)
PACKED = Path(__file__).parents[2] / "tests/runs/checkpoints/deepspeed/zero3.zip"


class Network(torch.nn.Module):
    """Sizes that three ranks do not divide, buffers, and a layer that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(7, 11)
        self.norm = torch.nn.BatchNorm1d(11)
        self.frozen = torch.nn.Linear(11, 5).requires_grad_(False)
        self.last = torch.nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.frozen(self.norm(self.first(inputs)))))


def train(rank: int, folder: str) -> None:
    import deepspeed

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555"}
    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    network = Network()
    trained = [p for p in network.parameters() if p.requires_grad]
    config = {
        "train_micro_batch_size_per_gpu": 4,
        "zero_optimization": {  # a sub-group's size makes two flat groups
            "stage": 3, "sub_group_size": 20, "stage3_param_persistence_threshold": 0,
        },
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }  # fmt: skip
    engine, *_ = deepspeed.initialize(
        model=network, optimizer=torch.optim.Adam(trained, 1e-2), config=config
    )
    chance = torch.Generator().manual_seed(rank)
    for step in range(1, STEPS[-1] + 1):
        loss = (engine(torch.randn(4, 7, generator=chance)) ** 2).mean()
        engine.backward(loss)
        engine.step()
        if step in STEPS:
            engine.save_checkpoint(folder, tag=f"global_step{step}")


def pack(folder: str) -> None:
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with zipfile.ZipFile(PACKED, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(Path(folder).glob("global_step*/*")):
            archive.write(path, path.relative_to(folder))
        archive.write(Path(folder) / "latest", "latest")
        for step in STEPS:
            joined = get_fp32_state_dict_from_zero_checkpoint(folder, tag=f"global_step{step}")
            with archive.open(f"joined_{step}.npz", "w") as file:
                np.savez(file, **{name: v.detach().numpy() for name, v in joined.items()})


if __name__ == "__main__":
    if sys.argv[1] == "pack":
        pack(sys.argv[2])
    else:
        train(int(sys.argv[1]), sys.argv[2])
