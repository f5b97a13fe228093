"""What recording sketches costs: networks of 0.1 to 1,000 million float32 weights.

Run it by hand, from the repository, with PyTorch and transformers installed:

    python -m benchmarks.sketch_overhead [SIZE...]

Times are the best of several snapshots, by the clock and in processor time; recorded are tensors of
a network's names and shapes. A training step is one of SGD, with one sequence of 128 tokens, in
processor time of one thread: the best of three, and of 1,000 million weights, which take 12 GB, the
better of two. Memory is what the
recorder allocates beside the network: what it keeps between snapshots, and the most at any moment.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.initialization import no_init_weights

import koopscope

#: Million weights -> (width, layers, vocabulary).
NETWORKS = {
    "0.1": (48, 3, 256),
    "1": (128, 5, 512),
    "10": (320, 8, 1024),
    "124": (768, 12, 50257),
    "1000": (1792, 24, 50257),
}
NUMBERS = (64, 256)

#: Networks whose snapshots take gigabytes: measured with fewer repeats.
LARGE = ("1000",)


def config(size: str) -> GPT2Config:
    width, layers, vocabulary = NETWORKS[size]
    heads = max(1, width // 64)
    return GPT2Config(
        n_embd=width, n_layer=layers, n_head=heads, vocab_size=vocabulary, n_positions=1024
    )


def made(size: str) -> dict[str, np.ndarray]:
    """Return tensors of a network's names and shapes, filled with noise."""
    with torch.device("meta"):
        shapes = {n: tuple(p.shape) for n, p in GPT2LMHeadModel(config(size)).named_parameters()}
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def step_seconds(size: str) -> float:
    """Return the processor time of the best training step of one sequence."""
    torch.set_num_threads(1)
    with no_init_weights():  # drawing a thousand million numbers takes a minute
        model = GPT2LMHeadModel(config(size))
    for parameter in model.parameters():
        parameter.data.fill_(0.02)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    tokens = torch.randint(0, NETWORKS[size][2], (1, 128))

    def step() -> None:
        optimizer.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()

    return best(step, 2 if size in LARGE else 3)[1]


def best(action: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the least seconds by the clock, and in processor time."""
    walls, works = [], []
    for _ in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        action()
        walls.append(time.perf_counter() - began)
        works.append(time.process_time() - worked)
    return min(walls), min(works)


def measured(
    tensors: Mapping[str, np.ndarray], folder: Path, repeats: int, **options: object
) -> dict[str, float]:
    """Record, and return seconds, memory and bytes per snapshot."""
    path = folder / "run.h5"
    moved = next(name for name in tensors if name.endswith("h.0.attn.c_attn.weight"))
    recorder = koopscope.Recorder(path, **options)
    steps = iter(range(10**6))

    def snapshot() -> None:
        tensors[moved].flat[0] += 1.0
        assert recorder.snapshot(next(steps), tensors)

    tracemalloc.start()
    snapshot()
    snapshot()
    tracemalloc.reset_peak()
    snapshot()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    before = path.stat().st_size
    wall, work = best(snapshot, repeats)
    written = (path.stat().st_size - before) / repeats
    recorder.close()
    path.unlink()
    return {"wall": wall, "work": work, "kept": kept, "peak": peak, "bytes": written}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=list(NETWORKS))
    heads = ("million", "tensors", "recording", "ms", "processor ms", "kept MB", "most MB", "bytes")
    print(("{:>7} {:>8}  {:<10}" + " {:>12}" * 6).format(*heads, "step ms"))
    for size in parser.parse_args().sizes:
        tensors = made(size)
        step = 1e3 * step_seconds(size)
        ways: dict[str, dict[str, object]] = {f"sketch {k}": {"sketch": k} for k in NUMBERS}
        ways["weights"] = {}
        for name, options in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                repeats = (1 if name == "weights" else 4) if size in LARGE else 15
                repeats = min(repeats, 3) if name == "weights" else repeats
                found = measured(tensors, Path(folder), repeats, **options)
            numbers = (1e3 * found["wall"], 1e3 * found["work"], found["kept"] / 1e6)
            numbers += (found["peak"] / 1e6, found["bytes"], step)
            weights = sum(t.size for t in tensors.values()) / 1e6
            print(
                f"{weights:7.1f} {len(tensors):8}  {name:<10}"
                + "".join(f" {number:12,.1f}" for number in numbers),
                flush=True,
            )


if __name__ == "__main__":
    main()
