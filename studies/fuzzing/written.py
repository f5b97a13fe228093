"""Has PyTorch and koopscope write what only they can: ``python -m studies.fuzzing.written FOLDER``.

A process of its own, because one that has loaded PyTorch or has threads is none to fork from.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint
from torch import nn

from koopscope.cli.main import main as koopscope
from koopscope.engine import cache
from studies.fuzzing.campaign import TIME_OF_CHANGE, with_small_caches

STEPS = range(1, 7)


def main(folder: Path) -> None:
    """Write checkpoints of each step, and a report and a cache of ``s.h5`` in the folder."""
    warnings.simplefilter("ignore")
    _write_checkpoints(folder)
    run, report = folder / "s.h5", folder / "report.json"
    os.utime(run, TIME_OF_CHANGE)
    with_small_caches()
    with contextlib.suppress(SystemExit):
        koopscope(["-q", "check", str(run), "--cache", "-f", f"json={report}"])
    assert report.exists()
    assert run.with_name(run.name + cache.SUFFIX).exists()


def _write_checkpoints(folder: Path) -> None:
    """Write ``archive/ckpt_K.pt``, ``stream/ckpt_K.pth`` and ``distributed/ckpt_K/``."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(network.parameters())
    for name in ("archive", "stream", "distributed"):
        (folder / name).mkdir()
    for step in STEPS:
        network(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        state = network.state_dict()
        content = {"step": step, "state_dict": state, "optimizer": optimizer.state_dict()}
        torch.save(content, folder / "archive" / f"ckpt_{step}.pt")
        stream = folder / "stream" / f"ckpt_{step}.pth"
        torch.save(content, stream, _use_new_zipfile_serialization=False)
        torch.distributed.checkpoint.save(
            {"model": state, "step": step},
            checkpoint_id=folder / "distributed" / f"ckpt_{step}",
            no_dist=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
