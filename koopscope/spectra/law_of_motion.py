"""Fit a law of motion and predict displacements with it, as combinations of increments.

A Koopman operator fitted to a window of snapshots carries its last value on. What comes out lies in
the span of the window, so a forecast of N weights is n coefficients, one per increment, whatever
the horizon. Works on Gram matrices; never reads a weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.fit import fitted_all
from koopscope.spectra.gram import Observable, SnapshotGram
from koopscope.spectra.heldout import damped, held_out_damping
from koopscope.spectra.rank import AUTO, RankRule
from koopscope.spectra.stacks import decomposed
from koopscope.spectra.still_to_come import geometric_sum

#: What a law can be of: a displacement must be a combination of increments.
FORECASTABLE: tuple[Observable, ...] = ("increments", "weights", "centered")

#: How well eigenvectors must add up to a state, relative to it, to be its expansion.
_SOLVED = 1e-10


@dataclass(frozen=True)
class Law:
    """An operator with the state it starts from, ready to be carried on.

    Attributes
    ----------
    observable
        What the operator moves.
    eigenvalues
        complex128 [r], per snapshot interval, as fitted; of an affine law, those of A.
    start
        complex128 [r], in the operator's eigenvectors: the last increment, or the next step that an
        affine law takes from the last snapshot.
    directions
        complex128 [n, r]: each eigenvector as a combination of the window's n increments.
    allow_growth
        Whether eigenvalues beyond the unit circle are let grow; otherwise they are held on it.

    Laws of one rank can be held in one, with a further axis in front of every array.
    """

    observable: Observable
    eigenvalues: Complex128
    start: Complex128
    directions: Complex128
    allow_growth: bool = False

    def coefficients(self, horizons: Sequence[float] | Float64) -> Float64:
        """Return float64 [n, h]: the displacement at horizon j is sum_t c[t, j] d_t.

        Parameters
        ----------
        horizons
            In snapshot intervals, not negative; between two whole ones the motion is straight.
        """
        reached = self.start[..., None] * self._factors(np.asarray(horizons, np.float64))
        combined: Float64 = (self.directions @ reached).real
        return combined

    def contributions(self, horizon: float) -> Float64:
        """Return float64 [r]: how far each mode alone carries the weights."""
        return np.abs(self.start * self._factors(np.array([horizon]))[..., 0])

    def growth(self, horizon: float) -> Float64:
        """Return float64 [r]: by how much each mode would grow, 1 or less for those that do not."""
        with np.errstate(over="ignore"):
            factors: Float64 = np.abs(self.eigenvalues) ** horizon
        return factors

    def _factors(self, horizons: Float64) -> Complex128:
        """Return complex128 [r, h]: what each mode's start is multiplied with."""
        values = self.eigenvalues if self.allow_growth else _held(self.eigenvalues)
        floor = np.floor(horizons)
        rest = horizons - floor
        with np.errstate(over="ignore", invalid="ignore"):
            # The last increment has been made: lambda + ... + lambda^k come after it. The next
            # step has not: 1 + ... + lambda^(k-1).
            first = values if self.observable == "increments" else np.ones_like(values)
            before, after = (geometric_sum(first, values, k) for k in (floor, floor + 1.0))
            mixed = np.where(rest > 0.0, (1.0 - rest) * before + rest * after, before)
        return mixed.astype(np.complex128)


def law_of_motion(
    gram: SnapshotGram,
    observable: Observable = "increments",
    *,
    rank: RankRule = AUTO,
    delay: int = 1,
    damping: float | None = None,
    allow_growth: bool = False,
) -> Law:
    """Fit an operator to a window of evenly spaced snapshots and start it from the last one.

    Parameters
    ----------
    gram
        The window's inner products, every snapshot finite.
    observable, delay
        See ``SnapshotGram.observable``.
    rank
        ``auto``: of the increments all directions, damped; of another observable the rank that
        predicts best within the window. Anything else truncates and does not damp: see
        ``koopscope.spectra.rank``; -1 is U = F' pinv(F) of Dogra and Redman (2020).
    damping
        In place of the one that predicts best within the window; see ``held_out_damping``.
    allow_growth
        See ``Law``.

    Returns
    -------
    Law
        Without a single mode where nothing moves.

    Raises
    ------
    KoopscopeError
        If there are too few snapshots.
    """
    every = laws_of_motion(
        [gram],
        observable,
        rank=rank,
        delay=delay,
        damping=damping,
        allow_growth=allow_growth,
    )
    _, law = next(every)
    return replace(
        law, eigenvalues=law.eigenvalues[0], start=law.start[0], directions=law.directions[0]
    )


def laws_of_motion(
    grams: Sequence[SnapshotGram],
    observable: Observable = "increments",
    *,
    rank: RankRule = AUTO,
    delay: int = 1,
    damping: float | None = None,
    allow_growth: bool = False,
) -> Iterator[tuple[list[int], Law]]:
    """Fit the law of each of several scopes of one window; many together are quicker.

    Parameters
    ----------
    grams
        The scopes' inner products.
    observable, rank, delay, damping, allow_growth
        See ``law_of_motion``.

    Yields
    ------
    Which scopes have laws of one rank, and their laws in one, along its first axis.

    Raises
    ------
    KoopscopeError
        If there are too few snapshots.
    """
    if observable not in FORECASTABLE:
        raise KoopscopeError(
            f"the law of {observable} weights cannot be carried on from increments alone",
            f"choose one of {', '.join(FORECASTABLE)}; that of weights has their constant part too",
        )
    all_directions = rank == AUTO and observable == "increments"
    rule = -1 if all_directions else rank
    found = fitted_all(grams, observable, rule, delay, what=f"a law of {observable}")
    by_rank: dict[int, list[int]] = {}
    for index, (_, r) in enumerate(found):
        by_rank.setdefault(r, []).append(index)
    for indices in by_rank.values():
        operators, states, bases = [], [], []
        for index in indices:
            reduction, r = found[index]
            K, moving = reduction.operator(r), slice(reduction.constants, None)
            if all_directions:
                amount = held_out_damping(reduction.series) if damping is None else damping
                K = damped(K, reduction.singular_values, amount)
            last = reduction.coordinates(r)[:, reduction.pairs]
            states.append((K @ last - last if reduction.series.affine else last)[moving])
            operators.append(K[moving, moving])
            bases.append(reduction.basis(r)[:, moving])
        eigenvalues, Q = decomposed(np.linalg.eig, np.array(operators))
        directions = np.array(bases) @ Q
        yield (
            indices,
            Law(
                observable,
                eigenvalues.astype(np.complex128),
                _expanded(Q.astype(np.complex128), np.array(states, np.complex128)),
                _on_increments(directions, observable, delay, grams[0].snapshots).astype(
                    np.complex128
                ),
                allow_growth,
            ),
        )


def _expanded(vectors: Complex128, states: Complex128) -> Complex128:
    """Return complex128 [k, r]: states in eigenvectors, by least squares where two nearly agree."""
    coordinates: Complex128 = np.empty_like(states)
    try:
        coordinates[...] = np.linalg.solve(vectors, states[..., None])[..., 0]
    except np.linalg.LinAlgError:  # of some, two eigenvectors are the same
        coordinates[...] = np.nan
    off = np.linalg.norm((vectors @ coordinates[..., None])[..., 0] - states, axis=-1)
    solved = off <= _SOLVED * np.linalg.norm(states, axis=-1)
    for k in np.flatnonzero(~solved):
        coordinates[k] = np.linalg.lstsq(vectors[k], states[k], rcond=None)[0]
    return coordinates


def _held(eigenvalues: Complex128) -> Complex128:
    """Move eigenvalues from beyond the unit circle onto it, each along its own ray."""
    return eigenvalues / np.maximum(np.abs(eigenvalues), 1.0)


def _on_increments(
    columns: npt.NDArray[np.inexact], observable: Observable, delay: int, snapshots: int
) -> npt.NDArray[np.inexact]:
    """Turn coefficients on the observable's values y_0 .. y_{m-1} into ones on the increments.

    Of a stacked value the newest part is what moves on.
    """
    newest = slice(delay - 1, delay - 1 + columns.shape[-2])
    length = snapshots - 1 if observable == "increments" else snapshots
    spread = np.zeros((*columns.shape[:-2], length, columns.shape[-1]), columns.dtype)
    spread[..., newest, :] = columns
    if observable == "increments":
        return spread
    # Directions of an affine law are differences: their coefficients add up to zero, so it does not
    # matter which anchor the values are relative to.
    # w_t = w_0 + d_0 + ... + d_{t-1}: increment s counts in every later snapshot.
    return spread[..., ::-1, :].cumsum(axis=-2)[..., ::-1, :][..., 1:, :]
