"""What fewer snapshots cost: ``python -m studies.scale --corpus DIR``.

The held-out runs that were recorded at 81 snapshots or more are thinned to fewer, over the same
steps; verdicts are held against what became of the run, and against those from all snapshots.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence
from koopscope.spectra.gram import SnapshotGram
from studies import corpus, measures
from studies.corpus import Case
from studies.score import ask, seen
from studies.yardstick.plan import HELD_OUT

COUNTS = (12, 20, 50, 81)
LEAST = 81


def thinned(analysis: Analysis, kept: np.ndarray) -> Analysis:
    """Return the analysis as if only some of its snapshots had been recorded, the first among them.

    ``kept`` holds their places in ascending order, beginning with 0.
    """
    description = analysis.description
    sums = np.zeros((len(kept) - 1, description.snapshots - 1))
    for row, (begin, end) in enumerate(pairwise(kept)):
        sums[row, begin:end] = 1.0
    grams = {}
    for name, gram in analysis.grams.items():
        # What is not finite is cut off by the counts; it must not spoil the other sums.
        increments = sums @ np.nan_to_num(gram.increments, posinf=0.0, neginf=0.0) @ sums.T
        anchored = sums @ np.nan_to_num(gram.anchor_increments, posinf=0.0, neginf=0.0)
        unchanged = np.minimum.reduceat(gram.changes.unchanged, kept[:-1])
        grams[name] = SnapshotGram(
            increments,
            anchored,
            gram.anchor_square,
            gram.size,
            gram.nonfinite[kept],
            replace(gram.changes, unchanged=unchanged),
        )
    metrics = {name: np.asarray(values)[kept] for name, values in description.metrics.items()}
    return Analysis(
        replace(description, steps=description.steps[kept], metrics=metrics), grams, Settings()
    )


def print_by_count(cases: Sequence[Case]) -> None:
    """Print the scores at several numbers of snapshots of the same runs."""
    long = [case for case in cases if case.analysis.window.snapshots >= LEAST]
    clear = [case for case in long if not case.truth.state_unclear]
    print(f"{len(long)} held-out runs of {LEAST} snapshots or more, {len(clear)} of a clear state")
    bad = np.array([case.truth.bad for case in long])
    for edition in ("weights", "losses", "weights, rate", "losses, rate"):
        full = {case.name: ask(seen(case.analysis, edition)) for case in long}
        for count in COUNTS:
            said, inside = {}, []
            for case in long:
                last = case.analysis.description.snapshots - 1
                kept = np.unique(np.round(np.linspace(0, last, count)).astype(int))
                said[case.name] = each = ask(seen(thinned(case.analysis, kept), edition))
                whole = full[case.name]
                if np.isfinite(each.score[-1]) and np.isfinite(whole.score[-1]):
                    ahead = np.exp(each.score[-1]) - convergence.GAIN_FLOOR
                    inside.append(whole.low[-1] - 1e-9 <= max(ahead, 0.0) <= whole.high[-1] + 1e-9)
            right, undecided = measures.agreement(clear, {n: s.state for n, s in said.items()})
            same = np.mean([said[n].state == full[n].state for n in full])
            auroc = measures.auroc(np.array([said[case.name].restart for case in long]), bad)
            print(
                f"  {edition:14s} {count:4d} snapshots: state {right:.1%} right, {undecided:.1%} "
                f"inconclusive, {same:.1%} as from all; restart AUROC {auroc:.3f}; improvement "
                f"ahead inside the interval from all {np.mean(inside):.1%}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    print_by_count(corpus.load(options.corpus / "runs", HELD_OUT))


if __name__ == "__main__":
    main()
