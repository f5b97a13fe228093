"""What a conversion holds in memory: 40 checkpoints of 5 million weights, killed half-way, resumed.

Run it by hand, from the repository: ``python -m benchmarks.conversion_memory [FOLDER]``. It
needs 2.5 GB in FOLDER (the temporary folder if not given), and PyTorch for the second half.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from tests.series_files import write_safetensors

ROOT = Path(__file__).resolve().parents[1]

CHECKPOINTS, TENSORS, SIZE = 40, 5, 1_000_000


def write(folder: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    weights = {f"layer{i}.weight": rng.normal(size=SIZE).astype("f4") for i in range(TENSORS)}
    folder.mkdir()
    for step in range(1, CHECKPOINTS + 1):
        for values in weights.values():
            values += 1e-3 * rng.normal(size=SIZE).astype("f4")
        path = folder / f"step_{step}{suffix}"
        if suffix == ".pt":
            import torch

            torch.save({name: torch.from_numpy(values) for name, values in weights.items()}, path)
        else:
            write_safetensors(path, weights)


def convert(folder: Path, output: Path, kill_at: int | None = None) -> tuple[int, float, float]:
    """Return exit status, peak resident MiB and seconds of the command."""
    command = [sys.executable, "-m", "koopscope", "convert", str(folder), "-o", str(output)]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    partial = output.with_name(f"{output.name}.partial")
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_peak_kib(process.pid))
        if kill_at is not None and partial.exists() and partial.stat().st_size > kill_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
        time.sleep(0.01)
    return process.returncode, peak / 1024, time.perf_counter() - began


def resident_peak_kib(pid: int) -> int:
    """Return a process's own peak; what wait() tells includes its parent's before exec."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def same(left: Path, right: Path) -> bool:
    with h5py.File(left) as one, h5py.File(right) as other:
        names: list[str] = []
        one.visit(names.append)
        return all(
            np.array_equal(one[name][()], other[name][()])
            for name in names
            if isinstance(one[name], h5py.Dataset)
        )


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        for suffix in (".safetensors", ".pt"):
            folder = Path(scratch) / f"saved{suffix}"
            write(folder, suffix)
            whole, pieces = Path(scratch) / "whole.h5", Path(scratch) / "pieces.h5"
            _, peak, seconds = convert(folder, whole)
            print(f"{suffix}: {seconds:.1f} s, peak {peak:.0f} MiB")
            status, _, _ = convert(folder, pieces, kill_at=CHECKPOINTS * TENSORS * SIZE * 2)
            print(f"  killed half-way: exit status {status}")
            _, peak, seconds = convert(folder, pieces)
            print(
                f"  continued: {seconds:.1f} s, peak {peak:.0f} MiB, "
                f"{'the same content' if same(whole, pieces) else 'OTHER CONTENT'}"
            )
            for path in (*folder.iterdir(), whole, pieces):
                path.unlink()


if __name__ == "__main__":
    main()
