"""What one tensor costs after the pass: its spectrum, its intervals, and its part of the JSON.

    python -m benchmarks.per_scope

Processor time, one thread, the median of 15: five decays and noise in 5,000 weights, T = 100.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from benchmarks.measuring import DECAYS, machine
from koopscope._threads import product_threads
from koopscope.report.json_values import json_text, plain
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.confidence import confidence
from koopscope.spectra.dmd import dmd
from koopscope.spectra.measured import whole

ROUNDS = 15


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median processor time of a call."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return 1e3 * median(taken)


def main() -> None:
    rng = np.random.default_rng(0)
    directions = 0.1 * rng.standard_normal((len(DECAYS), 5000))
    noise = 1e-3 * rng.standard_normal((100, 5000)).cumsum(axis=0)
    gram = gram_of(DECAYS ** np.arange(100)[:, None] @ directions + noise)
    numbers = [{"re": float(x), "abs": float(y)} for x, y in rng.standard_normal((40_000, 2))]
    print(machine())
    with product_threads(1):
        spectrum = dmd(gram)
        print(f"spectrum          {milliseconds(lambda: dmd(gram)):.1f} ms")
        print(f"intervals         {milliseconds(lambda: confidence(spectrum, whole(gram))):.1f} ms")
        print(f"80,000 as plain   {milliseconds(lambda: plain(numbers)):.0f} ms")
        print(f"80,000 as text    {milliseconds(lambda: json_text(numbers)):.0f} ms")


if __name__ == "__main__":
    main()
