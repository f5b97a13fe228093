"""Gram matrices of a run that is still being recorded: each new snapshot costs one row.

What is known is held against the file first: where the two disagree, all is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from koopscope.engine.local import Plan, portion_grams, snapshot_grams
from koopscope.engine.sketched import sketched_grams
from koopscope.engine.source import Portion, ProgressListener
from koopscope.engine.store import GramStore
from koopscope.runs.run import Run, TensorInfo
from koopscope.spectra.accumulating import Precision
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.gram_joins import extended

#: How well a product computed twice must agree, relative to the two lengths.
AGREEMENT: dict[Precision, float] = {"double": 1e-10, "single": 1e-5}

#: Fewer known snapshots are cheaper to read again than to check.
_LEAST_KNOWN = 3


def grown_grams(
    run: Run, tensors: Sequence[TensorInfo], known: Mapping[str, SnapshotGram]
) -> Mapping[str, SnapshotGram]:
    """Return the Gram matrix of each tensor, taking over what is known of the first snapshots.

    Parameters
    ----------
    run
        As it is now.
    tensors
        Of the run, those wanted.
    known
        The same tensors' matrices when the run was shorter. Where they do not agree with the run
        any more, or hold snapshots that are not finite, everything is computed again.

    Raises
    ------
    KoopscopeError
        If the run holds no snapshot or cannot be read.
    """
    snapshots = run.description.snapshots
    if run.description.sketch is not None:
        return sketched_grams(run, tensors)
    if any(tensor.name not in known for tensor in tensors) or not tensors:
        return snapshot_grams(run, tensors)
    before = {known[tensor.name].snapshots for tensor in tensors}
    first = min(before)
    finite = all(known[tensor.name].finite.all() for tensor in tensors)
    if len(before) > 1 or not _LEAST_KNOWN <= first <= snapshots or not finite:
        return snapshot_grams(run, tensors)
    if first == snapshots:
        return known
    store = GramStore(snapshots)
    store.note(Plan.of(snapshots).note)
    for tensor, grown in extensions(run, tensors, known, first):
        if grown is None:
            return snapshot_grams(run, tensors)
        store.put(tensor.name, grown)
    return store


def extensions(
    run: Run,
    tensors: Sequence[TensorInfo],
    known: Mapping[str, SnapshotGram],
    first: int,
    on_progress: ProgressListener | None = None,
) -> Iterator[tuple[TensorInfo, SnapshotGram | None]]:
    """Yield each tensor with the Gram matrix of all snapshots, computed from that of the first.

    Parameters
    ----------
    tensors
        Of the run, those wanted; all of them are known, and finite.
    known
        The matrices of the first snapshots.
    first
        How many of them, at least 2.

    Returns
    -------
    ``None`` for a tensor whose first snapshots are not what they were.
    """
    plan = Plan.of(run.description.snapshots)
    portions = [Portion.of(tensor) for tensor in tensors]
    for portion, rest in portion_grams(run, portions, on_progress, since=first - 2, plan=plan):
        tensor = portion.tensor
        yield tensor, extended(known[tensor.name], rest, AGREEMENT[plan.precision])
