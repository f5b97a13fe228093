"""What NumPy alone does with a run, in one process: ``read`` its blocks, or an ``svd`` of it whole.

Usage: ``numpy_baseline.py read|svd RUN``. The reading loop reuses one buffer and computes nothing;
the SVD is of the centred snapshots in float64, read into one array.
"""

from __future__ import annotations

import sys

import h5py
import numpy as np
from reference_loop import WIDTH


def read(file: h5py.File) -> None:
    """Read every block, and drop it."""
    for dataset in file["weights"].values():
        snapshots, size = dataset.shape
        for start in range(0, size, WIDTH):
            stop = min(size, start + WIDTH)
            stored = np.empty((snapshots, stop - start), dataset.dtype)
            dataset.read_direct(stored, np.s_[:, start:stop])


def svd(file: h5py.File) -> None:
    """Take the singular values and vectors of all snapshots at once."""
    parts = [dataset[:] for dataset in file["weights"].values()]
    snapshots = np.concatenate(parts, axis=1).astype(np.float64)
    del parts
    snapshots -= snapshots.mean(axis=0)
    print(np.linalg.svd(snapshots, full_matrices=False)[1][:10])


if __name__ == "__main__":
    with h5py.File(sys.argv[2], "r", rdcc_nbytes=0) as opened:
        {"read": read, "svd": svd}[sys.argv[1]](opened)
