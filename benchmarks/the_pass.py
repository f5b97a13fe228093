"""The whole command against the least that could be done, PyDMD, its cache and its limits.

Run by hand on a quiet machine:

    python -m benchmarks.the_pass DIRECTORY [ROW...]

Makes its runs in DIRECTORY (4 GB; 16 GB more for the row ``growth``) and leaves them there. Every
row runs its commands in turn, A B A B, each in a process of its own, the file in the page cache.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.measuring import (
    KOOPSCOPE,
    interleaved,
    machine,
    make_run,
    middle,
    ratio,
    take,
    warm,
)
from koopscope.engine.cache import SUFFIX

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "sample_runs" / "mlp_sgd.h5"
ROUNDS = 5


METHOD_EXACT = ("--method", "exact")


def _exact(path: Path) -> tuple[str, ...]:
    return (*KOOPSCOPE, "analyze", "--no-cache", *METHOD_EXACT, str(path))


def reference(folder: Path) -> None:
    """Exact, 100 x 10M float32 (4 GB), against reading and dsyrk without overlap: <= 1.15."""
    run = make_run(folder / "10M.h5", 10_000_000)
    warm(run)
    loop = (sys.executable, str(HERE / "reference_loop.py"), str(run))
    ours, theirs = interleaved(ROUNDS, _exact(run), loop)
    print(f"  analyze         {middle(ours)}\n  reference loop  {middle(theirs)}")
    print(f"  {ratio(ours, theirs)}")


def pydmd(folder: Path) -> None:
    """Exact, 100 x 2M, against PyDMD DMD(svd_rank=10, exact=True): 1/30 of time, 1/20 of memory."""
    run = make_run(folder / "2M.h5", 2_000_000)
    warm(run)
    baseline = (sys.executable, str(HERE / "pydmd_baseline.py"), str(run))
    ours, theirs = interleaved(3, _exact(run), baseline)
    print(f"  analyze  {middle(ours)}\n  PyDMD    {middle(theirs)}")
    faster = median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))
    smaller = median(b.peak_mib / a.peak_mib for a, b in zip(ours, theirs, strict=True))
    print(f"  {faster:.0f} times as fast, 1/{smaller:.0f} of the memory")


def numpy(folder: Path) -> None:
    """Exact, 100 x 2M, next to reading its blocks and to a numpy SVD of it; one run each."""
    run = make_run(folder / "2M.h5", 2_000_000)
    warm(run)
    script = (sys.executable, str(HERE / "numpy_baseline.py"))
    ours, reading, svd = interleaved(
        1, _exact(run), (*script, "read", str(run)), (*script, "svd", str(run))
    )
    print(f"  analyze      {middle(ours)}")
    print(f"  block reads  {middle(reading)}\n  numpy SVD    {middle(svd)}")


def compressed(folder: Path) -> None:
    """Compressed `sample`, 100 x 10M, against exact: >= 5 times as fast."""
    run = make_run(folder / "10M.h5", 10_000_000)
    warm(run)
    ours, theirs = interleaved(ROUNDS, _sampled(run), _exact(run))
    print(f"  compressed  {middle(ours)}\n  exact       {middle(theirs)}")
    faster = median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))
    print(f"  {faster:.1f} times as fast")


def growth(folder: Path) -> None:
    """Compressed `sample`, 40M weights against 10M: < 1.5 times the time."""
    small = make_run(folder / "10M.h5", 10_000_000)
    large = make_run(folder / "40M.h5", 40_000_000)
    ours, theirs = interleaved(ROUNDS, _sampled(large), _sampled(small))
    print(f"  40M  {middle(ours)}\n  10M  {middle(theirs)}\n  {ratio(ours, theirs)}")


def _sampled(path: Path) -> tuple[str, ...]:
    return (*KOOPSCOPE, "analyze", "--no-cache", "--method", "compressed", str(path))


def memory(folder: Path) -> None:
    """Peak memory of the whole process at T = 100: <= 300 MiB whatever the network."""
    for name, weights, tensors in (("1M", 10**6, 10), ("10M", 10**7, 10), ("tiny", 64_000, 1000)):
        run = make_run(folder / f"{name}.h5", weights, tensors=tensors)
        taken = take(_exact(run))
        print(f"  {weights:>10,} weights in {tensors:>4} tensors  {taken.peak_mib:.0f} MiB")


def again(folder: Path) -> None:
    """Second ``analyze`` of the same 4 GB file: <= 0.8 s."""
    run = make_run(folder / "10M.h5", 10_000_000)
    command = (*KOOPSCOPE, "analyze", *METHOD_EXACT, str(run))
    run.with_name(run.name + SUFFIX).unlink(missing_ok=True)
    first = take(command)
    (later,) = interleaved(ROUNDS, command)
    print(f"  first   {middle([first])}\n  second  {middle(later)}")


def startup(folder: Path) -> None:
    """Medians: ``--help`` <= 0.12 s; of a sample run ``analyze`` <= 1.0 s, ``check`` <= 1.2 s."""
    helped, analysed, checked = interleaved(
        15,
        (*KOOPSCOPE, "--help"),
        (*KOOPSCOPE, "analyze", "--no-cache", str(SAMPLE)),
        (*KOOPSCOPE, "check", "--isolated", "--no-cache", str(SAMPLE)),
    )
    print(f"  --help          {1e3 * median(t.seconds for t in helped):.0f} ms")
    print(f"  analyze sample  {middle(analysed)}\n  check sample    {middle(checked)}")


ROWS: dict[str, Callable[[Path], None]] = {
    row.__name__: row
    for row in (reference, pydmd, numpy, compressed, growth, memory, again, startup)
}


def main(words: list[str]) -> None:
    if not words or set(words[1:]) - set(ROWS):
        raise SystemExit(f"usage: the_pass.py DIRECTORY [{'|'.join(ROWS)}]...")
    folder = Path(words[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in words[1:] or ROWS:
        print(f"{name}: {ROWS[name].__doc__}\n  on {machine()}", flush=True)
        ROWS[name](folder)


if __name__ == "__main__":
    main(sys.argv[1:])
