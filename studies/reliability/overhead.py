"""Compare what a snapshot costs in two trees: ``python -m studies.reliability.overhead OTHER``.

OTHER is a folder with another version of koopscope, such as ``git worktree add`` makes; a number
behind it says how many pairs (100). The two take turns, each in a process of its own, so that what
else the machine does befalls both. Prints medians of the processor time of one snapshot, the first
ones left out, and the median ratio of the pairs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

#: Tensors, snapshots of each process, and how many times the pairs.
MODELS = {"4 tensors": (4, 40, 1.0), "30 tensors": (30, 30, 1.0), "300 tensors": (300, 12, 0.3)}

PROGRAM = """
import sys, tempfile, time
from pathlib import Path
from statistics import median
import numpy as np
from koopscope import Recorder
tensors, snapshots = int(sys.argv[1]), int(sys.argv[2])
weights = {f"{k}.weight": np.zeros((64, 32), np.float32) for k in range(tensors)}
times = []
with tempfile.TemporaryDirectory() as folder, Recorder(Path(folder) / "run.h5") as recorder:
    for step in range(snapshots):
        for values in weights.values():
            values += 1.0
        began = time.process_time()
        recorder.snapshot(step, weights, loss=1.0)
        times.append(time.process_time() - began)
print(median(times[snapshots // 4:]))
"""


def seconds(tree: Path, tensors: int, snapshots: int) -> float:
    """Return the median processor time of one snapshot, with the package of a tree."""
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tensors), str(snapshots)],
        capture_output=True, text=True, check=True, cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
    )  # fmt: skip
    return float(said.stdout)


def main() -> None:
    """Print the table of ``docs/reliability.md``."""
    other, here = Path(sys.argv[1]).resolve(), Path(__file__).parents[2]
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    print("| model | pairs | before | now | ratio |\n|---|---|---|---|---|")
    for name, (tensors, snapshots, share) in MODELS.items():
        measured = []
        for turn in range(max(1, round(share * pairs))):
            order = (other, here) if turn % 2 else (here, other)
            both = {tree: seconds(tree, tensors, snapshots) for tree in order}
            measured.append((both[other], both[here]))
        before, now = (1e3 * median(column) for column in zip(*measured, strict=True))
        ratio = median(new / old for old, new in measured)
        print(f"| {name} | {len(measured)} | {before:.2f} ms | {now:.2f} ms | {ratio:.2f} |")


if __name__ == "__main__":
    main()
