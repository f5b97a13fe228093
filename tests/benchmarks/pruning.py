"""What ``koopscope prune`` holds in memory, and how long it takes, at ten million weights.

Run by hand: ``python tests/benchmarks/pruning.py [SNAPSHOTS]``; needs about 40 MB a snapshot.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECORD = """
import sys
import numpy as np
from koopscope.runs.native.recorder import Recorder
rng = np.random.default_rng(0)
shapes = {f"layers.{k}.weight": (1000, 1000) for k in range(10)}
limits = {n: rng.standard_normal(s, np.float32) for n, s in shapes.items()}
moves = {n: rng.standard_normal(s, np.float32) for n, s in shapes.items()}
with Recorder(sys.argv[1]) as recorder:
    for t in range(int(sys.argv[2])):
        recorder.snapshot(t, {n: limits[n] + np.float32(0.9**t) * moves[n] for n in shapes})
"""

#: The peak of this process alone, unlike what the system counts for a child since its fork.
PRUNE = """
import atexit, sys
from pathlib import Path
def peak():
    status = Path("/proc/self/status").read_text().split()
    print(status[status.index("VmHWM:") + 1])
atexit.register(peak)
from koopscope.cli.main import main
main(["--quiet", "prune", *sys.argv[1:]])
"""

CALLS = (
    ("--criterion", "magnitude", "-o", "masks.npz"),
    ("--criterion", "koopman-magnitude", "-o", "masks.npz"),
    ("--criterion", "koopman-gradient", "-o", "masks.h5"),
    ("--criterion", "koopman-magnitude", "-o", "masks.safetensors"),
    ("--criterion", "koopman-magnitude", "--structure", "unit", "-o", "masks.npz"),
    ("--criterion", "koopman-magnitude", "--apply", "run.h5", "-o", "pruned.npz"),
    ("--criterion", "random", "--scope", "layer", "--plots", "plots"),
)


def main() -> None:
    snapshots = sys.argv[1] if len(sys.argv) > 1 else "50"
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run.h5")
        subprocess.run([sys.executable, "-c", RECORD, run, snapshots], check=True)
        print(f"10M float32 weights, {snapshots} snapshots\n peak MiB  seconds  call")
        for call in CALLS:
            words = ["--sparsity", "0.9", "--force", *(run if w == "run.h5" else w for w in call)]
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", PRUNE, run, *words],
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - began
            peak = int(done.stdout.split()[-1]) / 1024
            print(f"{peak:9.0f}  {seconds:7.1f}  prune --sparsity 0.9 {' '.join(call)}", flush=True)


if __name__ == "__main__":
    main()
