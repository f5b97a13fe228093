"""How often the interval holds the factor that was put in, and the iteration count is right.

Linear contractions (symmetric, positive, non-normal) and tanh layers, five seeds each.

    python -m studies.fixed_points.known      # about two minutes on one core
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.iterates.fixed_point import fixed_point
from tests import iterated_maps as maps

HERE = Path(__file__).parent
SEEDS = range(5)
LINEAR = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
NONLINEAR = (0.5, 0.8, 0.9, 0.95)
KINDS = {
    "symmetric": lambda q, seed: maps.affine(maps.symmetric(q, seed), seed),
    "positive": lambda q, seed: maps.affine(maps.symmetric(q, seed, 0.0), seed),
    "non-normal": lambda q, seed: maps.affine(maps.non_normal(q, seed), seed),
    "tanh": maps.tanh_layer,
}


def main() -> None:
    found = defaultdict(list)
    for kind, make in KINDS.items():
        for factor in NONLINEAR if kind == "tanh" else LINEAR:
            for seed in SEEDS:
                operator, start = make(factor, seed)
                true = [maps.iterations_to(operator, start, t, 40000) for t in (1e-3, 1e-6)]
                for dtype in (np.float32, np.float64):
                    iterates = maps.iterate(operator, start, 40, dtype)
                    for count in (10, 15, 25, 40):
                        part = iterates[: count + 1]
                        verdict = judged(part, factor, true)
                        found[kind, np.dtype(dtype).name, count].append(verdict)
    rows = [
        {
            "kind": kind,
            "dtype": dtype,
            "iterates": count,
            "cases": len(verdicts),
            "interval_holds_factor": sum(v[0] for v in verdicts),
            "median_error": f"{np.median([v[1] for v in verdicts]):.2g}",
            "median_width": f"{np.median([v[2] for v in verdicts]):.2g}",
            "iterations_right_1e-3": sum(v[3] for v in verdicts),
            "iterations_right_1e-6": sum(v[4] for v in verdicts),
        }
        for (kind, dtype, count), verdicts in found.items()
    ]
    with open(HERE / "known.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def judged(iterates: np.ndarray, factor: float, true: list[int]) -> tuple[float, ...]:
    """Return: interval holds, error, width, and for each tolerance whether n is within a fifth."""
    try:
        fixed = fixed_point(gram_of(iterates), maps.rounding_length(iterates))
    except KoopscopeError:
        return (False, np.inf, np.inf, False, False)
    low, high = fixed.interval
    right = [
        abs(fixed.iterations(t) - n) <= max(1, 0.2 * n)
        for t, n in zip((1e-3, 1e-6), true, strict=True)
    ]
    return (low <= factor <= high, abs(fixed.factor - factor), high - low, *right)


if __name__ == "__main__":
    main()
