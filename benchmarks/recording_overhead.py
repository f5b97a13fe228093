"""What recording costs a training loop: the sample runs' networks, a snapshot after every epoch.

Run it by hand, from the repository, with PyTorch and scikit-learn installed:

    python -m benchmarks.recording_overhead

Processor time of the training thread, so that other work on the machine does not count.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from koopscope.integrations import Tracker
from sample_runs.recipes import RECIPES
from sample_runs.training import build_network, draw_batches, load_task, torch

EPOCHS = {"mlp_sgd": 200, "cnn_adam": 10, "transformer": 6}


def measured(recipe, path: Path, **options: object) -> dict[str, float]:
    """Train; return processor seconds per step, seconds per snapshot, and bytes per snapshot."""
    task = load_task(recipe.task)
    torch.manual_seed(recipe.seed)
    network = build_network(recipe, task)
    kind, settings = recipe.optimizer
    optimizer = getattr(torch.optim, kind)(network.parameters(), **settings)
    batches = draw_batches(len(task.inputs), recipe.batch, recipe.seed)
    steps = len(task.inputs) // recipe.batch
    epochs = EPOCHS[recipe.name]
    recording = 0.0
    with Tracker(path, **options) as tracker:
        tracker.start(0, network)
        before = path.stat().st_size
        began = time.thread_time()
        for epoch in range(1, epochs + 1):
            for _ in range(steps):
                chosen = next(batches)
                optimizer.zero_grad()
                task.loss(network(task.inputs[chosen]), task.targets[chosen]).backward()
                optimizer.step()
            asked = time.thread_time()
            tracker.after_epoch(epoch, epoch * steps, network)
            recording += time.thread_time() - asked
        closing = time.thread_time()
    recording += time.thread_time() - closing
    total = time.thread_time() - began
    return {
        "weights": sum(p.numel() for p in network.state_dict().values()),
        "tensors": len(network.state_dict()),
        "step_ms": 1e3 * (total - recording) / (epochs * steps),
        "epoch_ms": 1e3 * (total - recording) / epochs,
        "snapshot_ms": 1e3 * recording / epochs,
        "bytes": (path.stat().st_size - before) / epochs,
        "share": recording / (total - recording),
    }


def main() -> None:
    heads = (
        "network",
        "recording",
        "weights",
        "step ms",
        "epoch ms",
        "snapshot ms",
        "bytes",
        "share",
    )
    print(("{:<12} {:<20}" + " {:>11}" * 6).format(*heads, "bytes", "share"))
    ways = {
        "as it is": {},
        "each at once": {"write_every_seconds": 0},
        "with the verdict": {"stop_on_convergence": True, "patience": 10**9},
    }
    for recipe in RECIPES:
        for name, options in ways.items() if recipe.name in EPOCHS else ():
            with tempfile.TemporaryDirectory() as folder:
                found = measured(recipe, Path(folder) / "run.h5", **options)
            print(
                f"{recipe.name:<12} {name:<20} {found['weights']:>11,} {found['step_ms']:>11.3f} "
                f"{found['epoch_ms']:>11.2f} {found['snapshot_ms']:>11.3f} "
                f"{found['bytes']:>11,.0f} {found['share']:>11.2%}"
            )


if __name__ == "__main__":
    main()
