"""Whole processes side by side: what each takes on the clock, of the processor and of memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path
from statistics import median

import numpy as np

from koopscope._threads import cores
from koopscope.runs.native.recorder import Recorder

KOOPSCOPE = (sys.executable, "-m", "koopscope", "--quiet")

#: Decay per snapshot of the five directions in which the made runs move.
DECAYS = np.array([0.99, 0.95, 0.9, 0.8, 0.6])


@dataclass(frozen=True)
class Taken:
    """What one process took."""

    seconds: float
    processor_seconds: float
    peak_mib: float


def take(words: Sequence[str]) -> Taken:
    """Run a command to its end and measure it from outside; its output is thrown away."""
    # Without it the first, uncounted run compiles the package, as installing it would have done.
    known = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=known) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return Taken(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def interleaved(rounds: int, *commands: Sequence[str]) -> list[list[Taken]]:
    """Run commands in turn, A B A B, after one round of each that is not counted."""
    taken: list[list[Taken]] = [[] for _ in commands]
    for turn in range(rounds + 1):
        for command, results in zip(commands, taken, strict=True):
            result = take(command)
            if turn:
                results.append(result)
    return taken


def middle(results: Sequence[Taken]) -> str:
    """Say the median time, the processor's, and the largest memory."""
    return (
        f"{median(r.seconds for r in results):.2f} s "
        f"({median(r.processor_seconds for r in results):.2f} s of processor), "
        f"{max(r.peak_mib for r in results):.0f} MiB"
    )


def ratio(ours: Sequence[Taken], theirs: Sequence[Taken]) -> str:
    """Say the median ratio of times over the pairs, on the clock and of the processor."""
    pairs = list(zip(ours, theirs, strict=True))
    wall = median(a.seconds / b.seconds for a, b in pairs)
    processor = median(a.processor_seconds / b.processor_seconds for a, b in pairs)
    return f"ratio {wall:.2f} ({processor:.2f} of processor)"


def machine() -> str:
    """Say what the numbers were measured on, and how busy it was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{cores()} cores ({platform.machine()}), {memory:.0f} GiB, Python "
        f"{platform.python_version()}, NumPy {np.__version__}, "
        f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    )


def make_run(
    path: Path,
    weights: int,
    snapshots: int = 100,
    tensors: int = 10,
    columns: int = 1,
    seed: int = 0,
) -> Path:
    """Record a float32 run that relaxes along five directions; keep one that is there.

    Tensors are vectors, or matrices with so many columns.

    In a process of its own: what this one has held would count as memory of those it starts.
    """
    if not path.exists():
        maker = Process(target=_record, args=(path, weights, snapshots, tensors, columns, seed))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit(f"{path} could not be made")
    return path


def _record(
    path: Path, weights: int, snapshots: int, tensors: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    size = weights // tensors
    shape = (size // columns, columns) if columns > 1 else (size,)
    starts = [rng.standard_normal(size, np.float32) for _ in range(tensors)]
    directions = [0.1 * rng.standard_normal((len(DECAYS), size), np.float32) for _ in starts]
    with Recorder(path, metadata={"made": "five decays"}) as recorder:
        for t in range(snapshots):
            now = (DECAYS**t).astype(np.float32)
            recorder.snapshot(
                10 * t,
                {
                    f"layers.{k}.weight": (start + now @ direction).reshape(shape)
                    for k, (start, direction) in enumerate(zip(starts, directions, strict=True))
                },
            )


def warm(path: Path) -> None:
    """Read a file once, so that what follows finds it in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(2**24):
            pass
