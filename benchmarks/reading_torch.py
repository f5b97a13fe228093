"""What it takes to convert PyTorch checkpoints: time against reading their bytes, and memory.

Run it by hand, from the repository, where PyTorch is installed to write the checkpoints:
``python benchmarks/reading_torch.py [FOLDER]``. It needs 1.7 GB in FOLDER (the temporary folder if
not given). The conversion itself runs without PyTorch. Each round reads every byte of the
checkpoints and writes as many, as a conversion must, then converts; medians of the rounds count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]

CHECKPOINTS, TENSORS, SIZE = 40, 5, 1_000_000
ROUNDS = 2


def write(folder: Path) -> None:
    """Save the checkpoints."""
    import torch

    torch.manual_seed(0)
    weights = {f"layer{i}.weight": torch.randn(1000, SIZE // 1000) for i in range(TENSORS)}
    folder.mkdir()
    for step in range(1, CHECKPOINTS + 1):
        for values in weights.values():
            values += 1e-3 * torch.randn(values.shape)
        torch.save({"model": weights, "step": step}, folder / f"step_{step}.pt")


def read(folder: Path) -> float:
    """Return the seconds it takes to read every byte of a folder's files."""
    began = time.perf_counter()
    for path in sorted(folder.iterdir()):
        with path.open("rb", buffering=0) as file:
            while file.read(2**22):
                pass
    return time.perf_counter() - began


def copy(folder: Path, target: Path) -> float:
    """Return the seconds it takes to read every byte and to write it elsewhere."""
    began = time.perf_counter()
    with target.open("wb", buffering=0) as out:
        for path in sorted(folder.iterdir()):
            with path.open("rb", buffering=0) as file:
                while part := file.read(2**22):
                    out.write(part)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def run(*words: str) -> tuple[float, float, float]:
    """Return seconds on the clock and of the processor, and peak resident MiB, of a command."""
    blocked = "import sys; sys.modules['torch'] = None; from koopscope.cli.main import main; main()"
    command = [sys.executable, "-c", blocked, "-q", *words]
    began = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    seconds = time.perf_counter() - began
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        folder = Path(scratch) / "saved"
        writer = Process(target=write, args=(folder,))  # what it held must not count as ours
        writer.start()
        writer.join()
        volume = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        print(f"{CHECKPOINTS} checkpoints of {TENSORS * SIZE:,} float32: {volume:,.0f} MiB")
        rows = []
        for _ in range(ROUNDS):
            plain, copied = read(folder), copy(folder, Path(scratch) / "copy")
            converted = run("convert", str(folder), "-o", f"{scratch}/run.h5", "--force")
            analyzed = run("analyze", str(folder), "--no-cache")
            rows.append((plain, copied, converted, analyzed))
            os.unlink(f"{scratch}/run.h5")
        print(f"reading the bytes: {median(row[0] for row in rows):.2f} s")
        print(f"reading and writing them: {median(row[1] for row in rows):.2f} s")
        for name, column in (("convert", 2), ("analyze", 3)):
            taken = [row[column] for row in rows]
            print(
                f"{name}: {median(t[0] for t in taken):.2f} s "
                f"({median(t[1] for t in taken):.2f} s of processor), "
                f"peak {max(t[2] for t in taken):.0f} MiB"
            )
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
