"""Some runs of the held-out families as one small file, so that scores need no training.

``python -m studies.frozen --corpus DIR`` writes it anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from studies import corpus

FROZEN = Path(__file__).parent / "frozen.npz"

#: Families of few tensors, and which of their runs.
FAMILIES = (
    *("diabetes_mlp", "spirals_mlp", "community_graph", "counts_poisson", "mixture_density"),
    *("grammar_gru", "friedman_layernorm", "oscillator_pinn", "digits_contrastive"),
    *("delay_series_conv", "pointmass_policy", "waves_conv"),
)
RUNS = (0, 1, 3, 4, 7)

#: Longer runs take more room.
MOST_SNAPSHOTS = 85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    folder = options.corpus / "runs"
    cases = [
        case
        for case in corpus.load(folder, FAMILIES)
        if int(case.name[-2:]) in RUNS and case.analysis.description.snapshots <= MOST_SNAPSHOTS
    ]
    corpus.freeze(folder, [case.name for case in cases], cases, FROZEN)
    print(f"{len(cases)} runs, {FROZEN.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
