"""What ``koopscope forecast`` holds in memory, and how long it takes, at ten million weights.

Next to ``koopscope analyze --no-cache`` of the same file, which reads it once. Run by hand:

    python -m benchmarks.forecasting FOLDER [SNAPSHOTS]
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measuring import (
    KOOPSCOPE,
    interleaved,
    machine,
    make_run,
    middle,
    ratio,
    warm,
)

WEIGHTS = 10_000_000
ROUNDS = 3

CALLS = (
    ("--operator", "network"),
    ("--operator", "layer", "--accept", "pdt"),
    ("--operator", "node"),
)
SUFFIXES = ("npz", "h5", "safetensors")


def main() -> None:
    folder = Path(sys.argv[1])
    snapshots = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    run = make_run(folder / f"forecast-{snapshots}.h5", WEIGHTS, snapshots, columns=1000)
    warm(run)
    print(machine())
    print(f"{WEIGHTS:,} float32 weights, {snapshots} snapshots, {run.stat().st_size / 1e9:.1f} GB")
    analyze = (*KOOPSCOPE, "analyze", str(run), "--no-cache", "--method", "exact")
    for call, suffix in zip(CALLS, SUFFIXES, strict=True):
        words = (*call, "--ahead", "10", "--force", "-o", str(folder / f"predicted.{suffix}"))
        forecast = (*KOOPSCOPE, "forecast", str(run), *words)
        ours, theirs = interleaved(ROUNDS if call != CALLS[-1] else 1, forecast, analyze)
        print(f"forecast {' '.join(call)} -o .{suffix}: {middle(ours)}")
        print(f"  analyze: {middle(theirs)}; {ratio(ours, theirs)}", flush=True)


if __name__ == "__main__":
    main()
