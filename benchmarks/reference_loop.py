"""The least that could be done: read blocks, multiply each with its transpose, one after the other.

No overlap, no first differences, no check of anything; float64 like the exact pass. This is what
``the_pass.py`` compares the whole command with. Usage: ``reference_loop.py RUN``.
"""

from __future__ import annotations

import sys

import h5py
import numpy as np

#: Measured best of 16384, 65536 and 262144 (a quarter of a chunk of a run file).
WIDTH = 65536


def main(path: str) -> None:
    with h5py.File(path, "r", rdcc_nbytes=0) as file:
        for dataset in file["weights"].values():
            snapshots, size = dataset.shape
            total = np.zeros((snapshots, snapshots))
            product = np.empty_like(total)
            stored = np.empty((snapshots, WIDTH), dataset.dtype)
            block = np.empty((snapshots, WIDTH))
            for start in range(0, size, WIDTH):
                stop = min(size, start + WIDTH)
                if stop - start < WIDTH:
                    stored = np.empty((snapshots, stop - start), dataset.dtype)
                    block = np.empty(stored.shape)
                dataset.read_direct(stored, np.s_[:, start:stop])
                np.copyto(block, stored)
                np.matmul(block, block.T, out=product)
                total += product


if __name__ == "__main__":
    main(sys.argv[1])
