"""Measure the HTML page of a run of many tensors: ``python -m benchmarks.page_size DIR``.

Prints bytes of ``koopscope analyze --format html`` by the number of tensors, 100 snapshots each, at
the usual level and with ``--level tensor``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.shaped_runs import shaped_run

TENSORS = (50, 200, 700)
LEVELS = ("layer", "tensor")


def page_bytes(run: Path, level: str) -> int:
    """Return the size of a run's page in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        command = [sys.executable, "-m", "koopscope", "-q", "analyze", str(run), "--level", level]
        subprocess.run([*command, "--format", f"html={page}"], check=True, capture_output=True)
        return page.stat().st_size


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{'tensors':>8}" + "".join(f"{level:>12}" for level in LEVELS))
    for tensors in TENSORS:
        run = shaped_run(folder / f"page_{tensors}.h5", tensors, 5000, 100)
        sizes = [page_bytes(run, level) for level in LEVELS]
        print(f"{tensors:8}" + "".join(f"{size / 1e3:9,.0f} kB" for size in sizes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
