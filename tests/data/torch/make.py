"""Write the small files in this folder, with PyTorch, Lightning and two ranks of FSDP.

Run it by hand where they are installed: ``python tests/data/torch/make.py``. ``expected.npz`` holds
what PyTorch itself reads of each file, so that tests can hold koopscope's reader against PyTorch on
machines without it. The files come from torch 2.13 and lightning 2.6.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


class Small(nn.Module):
    """A network whose class no reader has."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.scale = nn.Parameter(torch.rand(2))

    def forward(self, x):
        return self.inner(x) * self.scale


def kinds_of_tensors() -> dict[str, torch.Tensor]:
    base = torch.randn(5, 4)
    words = torch.arange(0, 256, 5, dtype=torch.uint8)
    return {
        "plain.weight": base,
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "transposed": torch.randn(5, 4).T,
        "strided": torch.randn(9, 7)[1:8:2, ::3],
        "channels_last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "e4m3fn": words.view(torch.float8_e4m3fn),
        "e5m2": words.view(torch.float8_e5m2),
        "e4m3fnuz": words.view(torch.float8_e4m3fnuz),
        "e5m2fnuz": words.view(torch.float8_e5m2fnuz),
        "tied": base,
        "counts": torch.arange(3),
        "complex": torch.ones(2, dtype=torch.complex64),
        "sparse": torch.eye(2).to_sparse(),
    }


def numbers(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return floats as NumPy holds them: bfloat16 widened, 8-bit floats as float16."""
    found = {}
    for name, tensor in state.items():
        numeric = tensor.is_floating_point() or tensor.is_complex()
        if not numeric or tensor.layout != torch.strided:
            continue
        wide = torch.float32 if tensor.dtype == torch.bfloat16 else tensor.dtype
        wide = torch.float16 if "float8" in str(tensor.dtype) else wide
        found[name] = tensor.detach().to(wide).contiguous().numpy()
    return found


def lightning(path: Path) -> dict[str, torch.Tensor]:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(2, 1)
            self.save_hyperparameters({"made": argparse.Namespace(rate=0.1)})

        def training_step(self, batch, index):
            return self.net(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    module = Module()
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(3, 2)))
    trainer.save_checkpoint(path)
    return module.state_dict()


def shard(rank: int, folder: str) -> None:
    """Save one rank's half of a network."""
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29541"}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(1)
    network = nn.Linear(3, 5, bias=False)
    fully_shard(network, mesh=init_device_mesh("cpu", (2,)))
    whole = {name: value.full_tensor() for name, value in network.state_dict().items()}
    content = {"model": network.state_dict(), "optimizer": {"m": torch.ones(2)}, "step": 7}
    dcp.save(content, checkpoint_id=folder)
    if rank == 0:
        np.savez(f"{folder}.npz", **numbers(whole))
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    torch.manual_seed(0)
    network = Small()
    state = network.state_dict()
    tensors = kinds_of_tensors()
    expected = {}

    def save(name: str, content: object, of: dict[str, torch.Tensor], **how: bool) -> None:
        torch.save(content, HERE / name, **how)
        expected[name] = numbers(of)

    save("zip.pt", tensors, tensors)
    save("stream.pt", tensors, tensors, _use_new_zipfile_serialization=False)
    beside = {
        "epoch": 3,
        "args": argparse.Namespace(rate=0.1, path=Path("runs")),
        "best_acc1": torch.tensor(61.5),
        "state_dict_ema": {name: value / 2 for name, value in state.items()},
    }
    save("checkpoint_003.pth.tar", {**beside, "state_dict": state}, state)
    save("module", {"epoch": 4, "model": None, "ema": network}, state)
    torch.jit.script(network).save(HERE / "scripted.pt")
    expected["scripted.pt"] = numbers(state)
    expected["lightning.ckpt"] = numbers(lightning(HERE / "lightning.ckpt"))
    folder = HERE / "distributed"
    shutil.rmtree(folder, ignore_errors=True)
    torch.multiprocessing.spawn(shard, args=(str(folder),), nprocs=2)
    with np.load(f"{folder}.npz") as whole:
        expected["distributed"] = dict(whole)
    Path(f"{folder}.npz").unlink()
    flat = {f"{f}|{name}": v for f, found in expected.items() for name, v in found.items()}
    np.savez_compressed(HERE / "expected.npz", **flat)


if __name__ == "__main__":
    main()
