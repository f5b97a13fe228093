"""How exact eigenvalues are: six known ones, three ways of storing, motion 1e-1 .. 1e-6.

For each case the truth of the stored numbers is computed with 60 digits (mpmath: exact inner
products, the same scaling and truncation), so that what storage lost and what arithmetic lost are
told apart. Needs mpmath and pydmd. Prints the table in docs/evidence/numerics.md.

    python -m benchmarks.eigenvalue_accuracy
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pydmd

import koopscope
from koopscope.runs.dtypes import widen_bfloat16
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from tests.known_systems import EIGENVALUES, trajectory

DIGITS = 60
RANK = len(EIGENVALUES)
MOTIONS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
Array = npt.NDArray[Any]


def stored(values: Array, dtype: str) -> Array:
    """Round as the run file stores, and give back what a reader gets."""
    if dtype != "bfloat16":
        return values.astype(dtype)
    words = values.astype(np.float32).view(np.uint32)
    rounded = ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype(np.uint16)
    return widen_bfloat16(rounded)


def exact_products(columns: list[list[mpmath.mpf]]) -> mpmath.matrix:
    count = len(columns)
    products = mpmath.matrix(count, count)
    for i in range(count):
        for j in range(i, count):
            products[i, j] = products[j, i] = mpmath.fdot(columns[i], columns[j])
    return products


def precise_eigenvalues(H: mpmath.matrix, rank: int, scaled: bool) -> Array:
    """DMD of the series with Gram matrix H, all of it with ``DIGITS`` digits."""
    m = H.rows - 1
    scales = [mpmath.sqrt(H[t, t]) if scaled else mpmath.mpf(1) for t in range(m)]
    XX = mpmath.matrix(m, m)
    XY = mpmath.matrix(m, m)
    for s in range(m):
        for t in range(m):
            XX[s, t] = H[s, t] / scales[s] / scales[t]
            XY[s, t] = H[s, t + 1] / scales[s] / scales[t]
    squares, vectors = mpmath.eigsy(XX)
    kept = sorted(range(m), key=lambda k: -squares[k])[:rank]
    basis = mpmath.matrix(m, rank)
    for j, k in enumerate(kept):
        for t in range(m):
            basis[t, j] = vectors[t, k] / mpmath.sqrt(squares[k])
    values = mpmath.eig(basis.T * XY * basis, left=False, right=False)
    return np.array([complex(value) for value in values])


def worst(found: Array, true: Array) -> float:
    return float(np.abs(np.asarray(found)[None, :] - np.asarray(true)[:, None]).min(axis=1).max())


def columns_of(snapshots: Array) -> list[list[mpmath.mpf]]:
    return [[mpmath.mpf(float(x)) for x in row] for row in snapshots]


def case(dtype: str, motion: float) -> list[float | None]:
    snapshots = stored(trajectory(size=1500, motion=motion), dtype)
    if not np.diff(snapshots.astype(float), axis=0).any(axis=1).all():
        return [None] * 6
    raw = columns_of(snapshots)
    moved = [[x - y for x, y in zip(b, a, strict=True)] for a, b in pairwise(raw)]
    from_increments = precise_eigenvalues(exact_products(moved), RANK, scaled=True)
    from_raw = precise_eigenvalues(exact_products(raw), RANK + 1, scaled=False)

    gram = gram_of(snapshots)
    increments = np.diff(snapshots.astype(np.float64), axis=0).T
    scales = np.linalg.norm(increments[:, :-1], axis=0)
    X, Y = increments[:, :-1] / scales, increments[:, 1:] / scales
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    reference = np.linalg.eigvals(U[:, :RANK].T @ Y @ Vt[:RANK].T / S[:RANK])
    return [
        worst(from_increments, EIGENVALUES),
        worst(dmd(gram, "increments", rank=RANK).eigenvalues, from_increments),
        worst(reference, from_increments),
        worst(pydmd.DMD(svd_rank=RANK).fit(X, Y).eigs, from_increments),
        worst(koopscope.DMD(rank=RANK + 1).fit(snapshots.T).eigs, from_raw),
        worst(pydmd.DMD(svd_rank=RANK + 1).fit(snapshots.astype(np.float64).T).eigs, from_raw),
    ]


def main() -> None:
    warnings.simplefilter("ignore")
    mpmath.mp.dps = DIGITS
    print(
        "| stored as | motion | storage | koopscope | float64 SVD | PyDMD | DMD, raw | PyDMD, raw |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for dtype in ("float64", "float32", "bfloat16"):
        for motion in MOTIONS:
            cells = ["–" if e is None else f"{e:.0e}" for e in case(dtype, motion)]
            print(f"| {dtype} | {motion:.0e} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
