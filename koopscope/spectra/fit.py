"""Fit an operator to an observable: check that there are snapshots enough, reduce, choose the rank.

What every spectrum and every law of motion begins with. Works on Gram matrices; reads no weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from koopscope.errors import KoopscopeError
from koopscope.spectra.gram import Observable, SnapshotGram
from koopscope.spectra.heldout import held_out_ranks
from koopscope.spectra.rank import AUTO, RankRule, check_rank_rule
from koopscope.spectra.reduction import Reduction, reduce_all
from koopscope.spectra.series import Series


def fewest_snapshots(observable: Observable, delay: int = 1) -> int:
    """Return how many snapshots make one pair (y_t, y_{t+1}) of an observable."""
    return delay + (2 if observable == "increments" else 1)


def fitted(
    gram: SnapshotGram, observable: Observable, rank: RankRule, delay: int, *, what: str
) -> tuple[Reduction, int]:
    """Return an observable's reduction to its leading directions, and how many of these to keep.

    Parameters
    ----------
    gram
        A window's inner products, every snapshot finite and evenly spaced.
    observable, delay
        See ``SnapshotGram.observable``.
    rank
        See ``koopscope.spectra.rank``; ``auto`` is the rank that predicts best within the window.
    what
        What is to be fitted, for the error: ``a spectrum of weights``.

    Raises
    ------
    KoopscopeError
        If there are too few snapshots, or there is no such rule or observable.
    """
    return fitted_all([gram], observable, rank, delay, what=what)[0]


def fitted_all(
    grams: Sequence[SnapshotGram], observable: Observable, rank: RankRule, delay: int, *, what: str
) -> list[tuple[Reduction, int]]:
    """Do the same for several scopes of one window together; see ``fitted``."""
    rank = check_rank_rule(rank)
    needed, snapshots = fewest_snapshots(observable, delay), grams[0].snapshots
    if snapshots < needed:
        raise KoopscopeError(
            f"{snapshots} snapshots are too few for {what}"
            + (f" with delay {delay}" if delay > 1 else ""),
            f"it takes at least {needed}; record more often",
        )
    series = [Series.of(gram, observable, delay) for gram in grams]
    ranks: Sequence[RankRule] = held_out_ranks(series) if rank == AUTO else [rank] * len(series)
    # An energy, a threshold and no truncation rest on every singular value.
    leading = [rule if isinstance(rule, int) and rule > 0 else None for rule in ranks]
    reductions = reduce_all(series, leading=leading)
    return [(each, each.rank(rule)) for each, rule in zip(reductions, ranks, strict=True)]
