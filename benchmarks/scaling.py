"""What an analysis takes as runs grow in tensors, snapshots and weights: one table of bounds.

    python -m benchmarks.scaling DIRECTORY [--small] [ROW...]

Makes its runs in DIRECTORY (13 GB; 60 MB with ``--small``) and leaves them there. Every command is
a process of its own with the file in the page cache, run once before it is measured; a name of a
row, or its beginning, chooses rows. On a busy machine the processor's seconds say more than the
clock's: both are printed, and the load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.measuring import KOOPSCOPE, Taken, interleaved, machine, make_run, take, warm
from benchmarks.shaped_runs import shaped_run

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "sample_runs" / "mlp_sgd.h5"

#: Tensors, weights of each, snapshots: of the runs that rows name, and small ones in their place.
SHAPES = {
    "many tensors": (700, 5000, 100),
    "very many tensors": (5000, 1000, 100),
    "many snapshots": (40, 5000, 1500),
    "more snapshots": (40, 5000, 2000),
    "very many snapshots": (10, 5000, 5000),
}
SMALL = {
    "many tensors": (60, 200, 40),
    "very many tensors": (300, 50, 40),
    "many snapshots": (6, 400, 320),
    "more snapshots": (6, 400, 400),
    "very many snapshots": (3, 400, 600),
}

#: How often each of two commands is run that are compared.
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One measurement and what it is held against."""

    name: str
    measured: str
    bound: str
    met: bool


@dataclass(frozen=True)
class Runs:
    """Where the runs are, made when they are asked for."""

    folder: Path
    small: bool

    def shaped(self, name: str) -> Path:
        """Return a run of one of the ``SHAPES``, in the page cache."""
        shape = (SMALL if self.small else SHAPES)[name]
        return self._warm(shaped_run(self.folder / f"{'x'.join(map(str, shape))}.h5", *shape))

    def relaxing(self, weights: int) -> Path:
        """Return a run of 100 snapshots in ten tensors, in the page cache."""
        weights = weights // 100 if self.small else weights
        return self._warm(make_run(self.folder / f"{weights}.h5", weights))

    def _warm(self, path: Path) -> Path:
        warm(path)
        return path


def analyze(path: Path, *words: str) -> tuple[str, ...]:
    """Return the command that analyses a run."""
    return (*KOOPSCOPE, "analyze", *words, str(path))


def bounded(name: str, words: Sequence[str], seconds: float, mib: float | None = None) -> Row:
    """Measure a command once, after a run of it that leaves what it caches."""
    take(words)
    taken = take(words)
    limits = [f"{seconds:g} s"] + ([] if mib is None else [f"{mib:g} MiB"])
    met = taken.seconds <= seconds and (mib is None or taken.peak_mib <= mib)
    return Row(name, said(taken), ", ".join(limits), met)


def said(taken: Taken) -> str:
    """Say what a process took."""
    return (
        f"{taken.seconds:.2f} s ({taken.processor_seconds:.2f} s of processor), "
        f"{taken.peak_mib:.0f} MiB"
    )


def many_tensors(runs: Runs) -> Iterator[Row]:
    """700 tensors of 5,000 weights, 100 snapshots: table, tensors and JSON."""
    path = runs.shaped("many tensors")
    tensors = ("--level", "tensor")
    for what, words in (
        ("table", ()),
        ("tensors", tensors),
        ("JSON", ("--format", "json", *tensors)),
    ):
        yield bounded(f"many tensors, {what}", analyze(path, *words), 2.5)
    every = ("--format", "json", "--intervals", "all", *tensors)
    yield bounded("many tensors, JSON with all intervals", analyze(path, *every), 5.0)
    yield bounded("many tensors, table, not cached", analyze(path, "--no-cache"), 5.0)


def very_many_tensors(runs: Runs) -> Iterator[Row]:
    """5,000 tensors of 1,000 weights, 100 snapshots."""
    command = analyze(runs.shaped("very many tensors"))
    yield bounded("very many tensors, table", command, 15.0, 300.0)


def many_snapshots(runs: Runs) -> Iterator[Row]:
    """40 tensors of 5,000 weights, 1,500 and 2,000 snapshots."""
    path = runs.shaped("many snapshots")
    yield bounded("many snapshots, table", analyze(path), 8.0, 400.0)
    yield bounded("many snapshots, not cached", analyze(path, "--no-cache"), 12.0, 400.0)
    forecast = (*KOOPSCOPE, "forecast", str(path))
    yield bounded("many snapshots, forecast", forecast, 8.0, 400.0)
    more = analyze(runs.shaped("more snapshots"))
    yield bounded("more snapshots, table", more, 14.0, 500.0)


def very_many_snapshots(runs: Runs) -> Iterator[Row]:
    """10 tensors of 5,000 weights, 5,000 snapshots."""
    path = runs.shaped("very many snapshots")
    yield bounded("very many snapshots, table", analyze(path, "--no-cache"), 60.0)


def sample(runs: Runs) -> Iterator[Row]:
    """A sample run of the repository: 60 snapshots of a small network."""
    yield bounded("sample run, table", analyze(SAMPLE, "--no-cache"), 0.6)


def growth(runs: Runs) -> Iterator[Row]:
    """Processor time per tensor, of seven times as many tensors."""
    few, many = runs.shaped("many tensors"), runs.shaped("very many tensors")
    shapes = SMALL if runs.small else SHAPES
    times = shapes["very many tensors"][0] / shapes["many tensors"][0]
    first, second = interleaved(ROUNDS, analyze(many), analyze(few))
    ratio = median(
        a.processor_seconds / b.processor_seconds for a, b in zip(first, second, strict=True)
    )
    yield Row(
        f"growth, {times:.0f} times the tensors",
        f"{ratio:.1f} times the processor's time",
        f"{1.1 * times:.1f}",
        ratio <= 1.1 * times,
    )


def weights(runs: Runs) -> Iterator[Row]:
    """The exact pass against reading and multiplying alone, and the compressed one against it."""
    path = runs.relaxing(8_000_000)
    exact = analyze(path, "--no-cache", "--method", "exact")
    loop = (sys.executable, str(HERE / "reference_loop.py"), str(path))
    ours, theirs = interleaved(ROUNDS, exact, loop)
    ratio = median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True))
    yield Row("weights, exact over plain loop", f"{ratio:.2f}", "0.8", ratio <= 0.8)
    path = runs.relaxing(10_000_000)
    exact = analyze(path, "--no-cache", "--method", "exact")
    part = analyze(path, "--no-cache", "--method", "compressed")
    ours, theirs = interleaved(ROUNDS, part, exact)
    times = median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))
    yield Row("weights, exact over compressed", f"{times:.1f} times", "5 times", times >= 5.0)


ROWS: tuple[Callable[[Runs], Iterator[Row]], ...] = (
    sample,
    many_tensors,
    very_many_tensors,
    many_snapshots,
    very_many_snapshots,
    growth,
    weights,
)


def main(words: Sequence[str]) -> None:
    """Print the table, row by row as they are measured."""
    small = "--small" in words
    folder, *chosen = (word for word in words if word != "--small")
    runs = Runs(Path(folder), small)
    runs.folder.mkdir(parents=True, exist_ok=True)
    print(machine(), flush=True)
    print("| run | measured | bound | met |\n|---|---|---|---|", flush=True)
    for rows in ROWS:
        if chosen and not any(rows.__name__.startswith(name) for name in chosen):
            continue
        for row in rows(runs):
            met = "yes" if row.met else "no"
            print(f"| {row.name} | {row.measured} | {row.bound} | {met} |", flush=True)
    print(machine(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
