"""How different two laws of motion are: distances that no choice of coordinates changes.

Eigenvalues say how fast modes decay and turn; operators also say how modes feed each other, which
eigenvalues alone miss. Arrays in, numbers out.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.optimize import linear_sum_assignment

from koopscope._types import Complex128
from koopscope.spectra.gram import Products

#: Rounds in which a rotation is improved at most, and the gain below which it is good enough,
#: relative to what it can be at most.
_ROUNDS = 300
_GAIN = 1e-10

#: Every start is improved for some rounds, and the best few of them to the end.
_FIRST_ROUNDS = 12
_KEPT_STARTS = 3

#: Up to this rank every combination of signs of the axes is tried as a start; beyond, only some.
_ALL_SIGNS = 5
_SOME_SIGNS = 16


def spectra_distance(one: Complex128, other: Complex128) -> float:
    """Return the mean distance of eigenvalues under the best one-to-one matching.

    Redman et al. 2024 (arXiv 2302.09160), eq. 6: the Wasserstein distance of two spectra of one
    length. Where one is longer, the rest of it is matched with zero: modes that die at once.

    Parameters
    ----------
    one, other
        complex128 [r] and [s].
    """
    rank = max(len(one), len(other))
    if not rank:
        return 0.0
    padded = [np.pad(each, (0, rank - len(each))) for each in (one, other)]
    costs = np.abs(padded[0][:, None] - padded[1][None, :])
    rows, columns = linear_sum_assignment(costs)
    return float(costs[rows, columns].mean())


def operator_distance(one: Products, other: Products) -> float:
    """Return min over orthogonal C of |A - C B C*|, relative to sqrt(|A|^2 + |B|^2).

    Dynamical similarity analysis (Ostrow et al. 2023, arXiv 2306.10168, eq. 5; Behrad et al. 2025,
    arXiv 2511.22828). 0: the same law up to rotation; sqrt(2) at most. The minimum is looked for
    from several rotations, so it is an upper bound.

    Parameters
    ----------
    one, other
        [r, r] and [s, s]; the smaller one is padded with zeros.
    """
    rank = max(len(one), len(other))
    if not rank:
        return 0.0
    A, B = (np.pad(each, (0, rank - len(each))) for each in (one, other))
    squares = float(np.sum(np.abs(A) ** 2) + np.sum(np.abs(B) ** 2))
    if squares <= 0.0:
        return 0.0
    overlap = _best_overlap(A, B, np.array(_starts(A, B)))
    return float(np.sqrt(max(squares - 2.0 * overlap, 0.0) / squares))


def _best_overlap(A: Products, B: Products, starts: Products) -> float:
    """Return the largest Re <A, C B C*> over unitary C that is reached from ``starts`` [n, r, r].

    The objective is quadratic in C; adding a multiple of |C|^2, which is constant, makes it convex,
    and then each step that maximises its linear part goes up. All starts climb at once, and the
    best few of them to the end.
    """
    shift = float(np.linalg.norm(A, 2) * np.linalg.norm(B, 2))
    C, best = starts, -np.inf
    for turn in range(_ROUNDS):
        moved = C @ B
        values = np.real(np.sum(A.conj() * (moved @ _adjoint(C)), axis=(1, 2)))
        if turn == _FIRST_ROUNDS:
            kept = np.argsort(-values)[:_KEPT_STARTS]
            C, moved = C[kept], moved[kept]
        found = float(values.max())
        if turn > _FIRST_ROUNDS and found - best <= _GAIN * shift:
            break
        best = max(best, found)
        gradient = A @ C @ B.conj().T + A.conj().T @ moved + shift * C
        left, _, right = np.linalg.svd(gradient)
        C = left @ right
    return best


def _adjoint(matrices: Products) -> Products:
    found: Products = matrices.conj().swapaxes(1, 2)
    return found


def _starts(A: Products, B: Products) -> list[Products]:
    """Return rotations to start from: axes as they are, and those of the symmetric parts."""
    rank = len(A)
    bases = []
    for part in (1.0, -1.0):
        axes = []
        for each in (A, B):
            half = (each + part * each.conj().T) / 2.0
            axes.append(np.linalg.eigh(half if part > 0.0 else 1j * half)[1])
        bases.append(axes[0] @ axes[1].conj().T)
    real = np.isrealobj(A) and np.isrealobj(B)
    found = [np.eye(rank, dtype=A.dtype)]
    for base in bases:
        left, _, right = np.linalg.svd(base.real if real else base)
        found.append(left @ right)
    first, second = (np.linalg.eigh((each + each.conj().T) / 2.0)[1] for each in (A, B))
    found += [(first * signs) @ second.conj().T for signs in _signs(rank)]
    return found


def _signs(rank: int) -> list[Products]:
    """Return signs of the axes; the sign of all of them together changes nothing."""
    if rank <= _ALL_SIGNS:
        rows = [(1.0, *rest) for rest in product((1.0, -1.0), repeat=rank - 1)]
        return [np.array(row) for row in rows]
    rng = np.random.default_rng(0)
    return [np.where(rng.random(rank) < 0.5, 1.0, -1.0) for _ in range(_SOME_SIGNS)]
