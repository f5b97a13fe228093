"""How long one ``Recorder.snapshot`` takes, next to writing the same arrays to a file of their own.

Run by hand: ``python tests/benchmarks/recording.py [DIRECTORY]``; needs about 5 GB there.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from koopscope.runs.native.recorder import Recorder

SNAPSHOTS = 100

#: Model -> shapes of its tensors.
MODELS = {
    "4 tensors": [(256, 784), (256,), (10, 256), (10,)],
    "30 tensors": [(128, 128), (128,)] * 15,
    "300 tensors": [(64, 64), (64,)] * 150,
    "10M weights": [(1024, 1024), (1024,)] * 10,
}


@dataclass
class Timer:
    """Times of one action, in milliseconds: on the clock, and of the processor."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, action: Callable[[], object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        self.cpu.append(1e3 * (time.process_time() - cpu))
        self.wall.append(1e3 * (time.perf_counter() - wall))


def measured(folder: Path, shapes: list[tuple[int, ...]]) -> tuple[Timer, Timer, int]:
    """Return the times of appending and of ``np.savez``, and the size of the run file."""
    rng = np.random.default_rng(0)
    weights = {f"t{k}": rng.standard_normal(shape, np.float32) for k, shape in enumerate(shapes)}
    path = folder / "run.h5"
    recorder = Recorder(path)
    recorder.snapshot(0, weights, loss=0.0)
    appending, saving = Timer(), Timer()
    for step in range(1, SNAPSHOTS):
        appending.time(partial(recorder.snapshot, step, weights, loss=1.0))
        saving.time(partial(np.savez, folder / "one.npz", **weights))
    size = path.stat().st_size
    path.unlink()
    return appending, saving, size


def main() -> None:
    place = sys.argv[1] if len(sys.argv) > 1 else None
    heads = ("", "weights", "MB", "append ms", "its CPU ms", "savez ms", "its CPU ms", "overhead")
    print("".join(f"{head:>13}" for head in heads))
    with tempfile.TemporaryDirectory(dir=place) as folder:
        for name, shapes in MODELS.items():
            appending, saving, size = measured(Path(folder), shapes)
            count = sum(math.prod(shape) for shape in shapes)
            numbers = (
                f"{count:,}",
                f"{4e-6 * count:.2f}",
                f"{median(appending.wall):.1f}",
                f"{median(appending.cpu):.1f}",
                f"{median(saving.wall):.1f}",
                f"{median(saving.cpu):.1f}",
                f"{size / (4 * count * SNAPSHOTS) - 1:.2%}",
            )
            print(f"{name:>13}" + "".join(f"{number:>13}" for number in numbers))


if __name__ == "__main__":
    main()
