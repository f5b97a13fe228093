"""Make a run of any shape: so many tensors of so many weights each, over so many snapshots.

    python -m benchmarks.shaped_runs FILE TENSORS WEIGHTS SNAPSHOTS

Every tensor relaxes along five directions of its own and carries the noise of minibatches, so that
ranks, intervals and held-out tests have to work as on a real run. A matrix and a vector
make a layer.
"""

from __future__ import annotations

import sys
from multiprocessing import Process
from pathlib import Path

import numpy as np

from benchmarks.measuring import DECAYS
from koopscope.runs.native.recorder import Recorder

#: Standard deviation of one step of the noise, next to starts of 1 and directions of 0.1.
NOISE = 1e-3


def shaped_run(path: Path, tensors: int, weights: int, snapshots: int) -> Path:
    """Record a float32 run of ``tensors`` tensors of ``weights`` each; keep one that is there.

    In a process of its own: what this one has held would count as memory of those it starts.
    """
    if not path.exists():
        maker = Process(target=_record, args=(path, tensors, weights, snapshots))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit(f"{path} could not be made")
    return path


def _record(path: Path, tensors: int, weights: int, snapshots: int) -> None:
    rng = np.random.default_rng(0)
    now = rng.standard_normal((tensors, weights), np.float32)
    directions = 0.1 * rng.standard_normal((len(DECAYS), tensors, weights), np.float32)
    columns = next(k for k in (50, 10, 2, 1) if weights % k == 0)
    shapes = [(weights // columns, columns), (weights,)]
    names = [f"layers.{k // 2}.{('weight', 'bias')[k % 2]}" for k in range(tensors)]
    # The slowest of very many snapshots decays within them, too.
    decays = DECAYS ** min(1.0, 100.0 / snapshots)
    with Recorder(path, metadata={"made": "five decays and noise"}) as recorder:
        for t in range(snapshots):
            values = [row.reshape(shapes[k % 2]) for k, row in enumerate(now.copy())]
            recorder.snapshot(10 * t, dict(zip(names, values, strict=True)))
            now += np.tensordot((decays - 1.0) * decays**t, directions, 1).astype(np.float32)
            now += NOISE * rng.standard_normal(now.shape, np.float32)


if __name__ == "__main__":
    shaped_run(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
