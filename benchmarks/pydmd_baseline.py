"""The same question asked of PyDMD: the ten leading eigenvalues of a run, in one process.

Usage: ``pydmd_baseline.py RUN``. PyDMD wants one array (weights, snapshots) in memory; it is read
without a copy to spare.
"""

from __future__ import annotations

import sys
import warnings

import h5py
import numpy as np


def main(path: str) -> None:
    from pydmd import DMD

    with h5py.File(path, "r") as file:
        datasets = list(file["weights"].values())
        snapshots = datasets[0].shape[0]
        weights = np.empty((sum(d.shape[1] for d in datasets), snapshots), datasets[0].dtype)
        row = 0
        for dataset in datasets:
            weights[row : row + dataset.shape[1]] = dataset[:].T
            row += dataset.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(DMD(svd_rank=10, exact=True).fit(weights).eigs)


if __name__ == "__main__":
    main(sys.argv[1])
