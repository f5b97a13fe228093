"""Measure what a new snapshot costs whoever watches a run: ``python -m benchmarks.watching DIR``.

A run of 20 tensors of 5,000 float32 weights grows to 3,200 snapshots. Around each length that is
named, the next 16 snapshots come one by one, and are taken up and judged as ``koopscope watch``
does: bytes read and processor seconds, means over a new snapshot.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from koopscope.analysis.follow import Follower
from koopscope.diagnostics.diagnosis import diagnose
from koopscope.runs.hdf5.stacked import StackedRun
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.run import FloatArray, TensorInfo

TENSORS, WEIGHTS = 20, 5000
LENGTHS = (100, 200, 400, 800, 1600, 3200)
NEW = 16


class Counted:
    """Counts the bytes of weights that are read."""

    def __init__(self) -> None:
        self.bytes = 0
        self._read = StackedRun.read_rows

    def install(self) -> None:
        """Count from now on."""
        read = self._read

        def reading(
            run: StackedRun, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
        ) -> None:
            self.bytes += out.nbytes
            read(run, tensor, start, stop, rows, out)

        StackedRun.read_rows = reading  # type: ignore[method-assign]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "growing.h5"
    path.unlink(missing_ok=True)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((TENSORS, WEIGHTS)).astype(np.float32)
    counted, follower = Counted(), Follower(path)
    counted.install()
    recorded = 0

    def record(recorder: Recorder, count: int) -> None:
        nonlocal recorded, weights
        for _ in range(count):
            weights = 0.999 * weights + 1e-3 * rng.standard_normal(weights.shape).astype(np.float32)
            names = {f"layers.{k}.weight": row for k, row in enumerate(weights)}
            recorder.snapshot(10 * recorded, names, loss=1.0 / (1 + recorded))
            recorded += 1

    print(f"{'snapshots':>9} {'judged':>7} {'MB read':>9} {'s of processor':>15}")
    with Recorder(path) as recorder:
        for length in LENGTHS:
            record(recorder, length - recorded)
            follower.look()
            counted.bytes, began = 0, time.process_time()
            spent = 0.0
            for _ in range(NEW):
                record(recorder, 1)
                began = time.process_time()
                if follower.look() and follower.analysis is not None:
                    diagnose(follower.analysis)
                spent += time.process_time() - began
            assert follower.analysis is not None
            print(
                f"{length:9} {follower.analysis.description.snapshots:7} "
                f"{counted.bytes / NEW / 1e6:9.1f} {spent / NEW:15.2f}",
                flush=True,
            )
    path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
