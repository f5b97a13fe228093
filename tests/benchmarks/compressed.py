"""What compression costs in accuracy and saves in time, next to the exact pass, in one run.

Prints, for each recorded run: seconds of the exact and of the compressed pass (the fastest of
REPEATS, taken in turn), the largest error of the eigenvalues with at least 1% of the amplitude, and
the standard error koopscope itself claimed. With ``--grow`` it first writes 10M and 40M random
weights with known dynamics, 40 snapshots each, and shows how the time grows. For real runs see
``real_scale_runs.py``.

    python tests/benchmarks/compressed.py RUN... [--grow FOLDER]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.analysis import LEAST_SHARE, Analysis, Settings
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from koopscope.spectra.matching import matching

REPEATS = 3
GROWN_SNAPSHOTS = 40
WAYS: dict[str, dict[str, Any]] = {
    "sample": {},
    "sample, 4 times as large": {"measurements": 2**20},
    "sparse": {"measurement": "sparse"},
}


def analysed(path: Path, **asked: Any) -> tuple[Analysis, float]:
    began = time.perf_counter()
    with open_run(path) as run:
        analysis = Analysis.of(run, Settings(**asked))
    return analysis, time.perf_counter() - began


def compare(path: Path) -> None:
    exact, _ = analysed(path, method="exact")  # the later readings find the file in the page cache
    spectrum = exact.spectrum()
    matter = spectrum.shares >= LEAST_SHARE
    seconds: dict[str, list[float]] = {name: [] for name in ("exact", *WAYS)}
    found: dict[str, Analysis] = {}
    for _ in range(REPEATS):
        seconds["exact"].append(analysed(path, method="exact")[1])
        for name, asked in WAYS.items():
            found[name], taken = analysed(path, method="compressed", rank=spectrum.rank, **asked)
            seconds[name].append(taken)
    fastest = min(seconds["exact"])
    print(f"\n{path.name}: rank {spectrum.rank}, {int(matter.sum())} eigenvalues of 1% or more")
    print("| method | read | seconds | times as fast | largest error | claimed |")
    print("|---|---|---|---|---|---|")
    print(f"| exact | 100% | {fastest:.2f} | 1 | 0 | 0 |")
    for name, analysis in found.items():
        there = analysis.spectrum()
        order = matching(there.eigenvalues[None], spectrum.eigenvalues)[0]
        errors = np.abs(there.eigenvalues[order] - spectrum.eigenvalues)[matter]
        claimed = analysis.confidence().compression_errors[order][matter]
        taken = min(seconds[name])
        share = analysis.grams.weights_read / analysis.grams.weights
        print(
            f"| {name} | {share:.1%} | {taken:.2f} | {fastest / taken:.1f} | {errors.max():.1e} "
            f"| {claimed.max():.1e} |",
            flush=True,
        )


def grow(folder: Path) -> None:
    print("\n| weights | compressed, seconds | exact, seconds |\n|---|---|---|")
    for millions in (10, 40):
        path = folder / f"{millions}M.h5"
        if not path.exists():
            write_random(path, millions)
        ways: tuple[dict[str, Any], ...] = ({"method": "compressed"}, {"method": "exact"})
        fastest = [min(analysed(path, **asked)[1] for _ in range(REPEATS)) for asked in ways]
        print(f"| {millions}M | {fastest[0]:.2f} | {fastest[1]:.2f} |", flush=True)


def write_random(path: Path, millions: int) -> None:
    """Four layers whose scales differ a hundredfold, one law, and independent noise."""
    rng = np.random.default_rng(0)
    eigenvalues = np.array([0.98, 0.9, 0.7, 0.5])
    layers = []
    for scale in (1.0, 0.1, 0.01, 3.0):
        size = millions * 250_000
        layers.append((scale, *rng.standard_normal((5, size), dtype=np.float32)))
    recorder = Recorder(path)
    for t in range(GROWN_SNAPSHOTS):
        weights = {
            f"layer{k}.weight": np.float32(scale)
            * (start + np.float32(0.01) * ((eigenvalues**t).astype(np.float32) @ np.array(modes)))
            for k, (scale, start, *modes) in enumerate(layers)
        }
        recorder.snapshot(t, weights)


def main() -> None:
    words = sys.argv[1:]
    if "--grow" in words:
        at = words.index("--grow")
        grow(Path(words[at + 1]))
        del words[at : at + 2]
    for word in words:
        compare(Path(word))


if __name__ == "__main__":
    main()
