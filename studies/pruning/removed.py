"""What a mask costs against the share of the squared norm that it removes.

Single weights at five sparsities and whole units at four, by magnitude at the end of training, on
the networks that ``study.py`` keeps in its cache: the share removed, of all and of the layer
that loses most, and the accuracy right after as a part of the unpruned one (0 is chance).

    python -m studies.pruning.removed --cache FOLDER --out studies/pruning/removed.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.report.pruning import layers_of
from koopscope.runs.detect.opening import open_run
from studies.pruning.study import (
    KINDS,
    SEEDS,
    SNAPSHOTS,
    SPARSITIES,
    Network,
    accuracy,
    trained,
    whole,
)

UNIT_SPARSITIES = (0.1, 0.2, 0.3, 0.5)
COLUMNS = ("kind", "seed", "structure", "sparsity", "removed", "removed_most", "left")


def chance(network: Network) -> float:
    """Return the accuracy of always giving the most frequent answer."""
    answers = network.task.y_val[network.task.y_val >= 0]
    return float(np.bincount(answers.numpy()).max() / len(answers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    requests = [MaskRequest(s) for s in SPARSITIES]
    requests += [MaskRequest(s, structure="unit") for s in UNIT_SPARSITIES]
    with options.out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for kind in KINDS:
            for seed in SEEDS:
                if not (options.cache / f"{kind}-{seed}.h5").exists():
                    continue
                network = trained(kind, seed, options.cache)
                final = network.snapshot(SNAPSHOTS - 1)
                floor = chance(network)
                dense = accuracy(network.loaded(final), network.task) - floor
                settings = PruningSettings("magnitude")
                with open_run(network.path) as run:
                    basis = pruning_basis(run, settings)
                    with Pruner(run, basis, settings) as pruner:
                        for request in requests:
                            pruning = pruner.prune(request)
                            net = network.loaded(final, whole(pruner, request))
                            left = (accuracy(net, network.task) - floor) / dense
                            most = max(layer.removed for layer in layers_of(pruning))
                            numbers = (f"{v:.4f}" for v in (pruning.removed, most, left))
                            asked = (request.structure, request.sparsity)
                            table.writerow((kind, seed, *asked, *numbers))


if __name__ == "__main__":
    main()
