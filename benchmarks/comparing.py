"""What ``koopscope compare`` costs, against one ``koopscope analyze`` of the same size.

Run by hand on a quiet machine:

    python -m benchmarks.comparing DIRECTORY [WEIGHTS]

Makes two runs of 60 snapshots x 10 million float32 weights (2.4 GB each) in DIRECTORY and leaves
them there. The commands run in turn, A B A B, the files in the page cache: <= 2.5 times.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measuring import KOOPSCOPE, interleaved, machine, make_run, middle, ratio, warm

SNAPSHOTS = 60
ROUNDS = 5


def main(folder: Path, weights: int, rounds: int) -> None:
    """Time both commands."""
    runs = [
        make_run(folder / f"{name}-{weights}.h5", weights, SNAPSHOTS, seed=seed)
        for seed, name in enumerate(("first", "second"))
    ]
    for run in runs:
        warm(run)
    one = (*KOOPSCOPE, "analyze", "--no-cache", "--method", "exact", str(runs[0]))
    both = (*KOOPSCOPE, "compare", *map(str, runs))
    ours, theirs = interleaved(rounds, both, one)
    print(f"  compare  {middle(ours)}\n  analyze  {middle(theirs)}\n  {ratio(ours, theirs)}")
    print(f"  peak of compare  {max(taken.peak_mib for taken in ours):.0f} MiB")


if __name__ == "__main__":
    print(machine())
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000,
        int(sys.argv[3]) if len(sys.argv) > 3 else ROUNDS,
    )
