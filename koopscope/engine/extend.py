"""Gram matrices of a run that is still being recorded: each new snapshot costs one row.

Keeps nothing but the matrices; must never take over what no longer agrees with the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from koopscope.engine.cache import AGREEMENT
from koopscope.engine.local import Plan, Portion, portion_grams, snapshot_grams
from koopscope.engine.store import GramStore
from koopscope.runs.run import Run, TensorInfo
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.gram_joins import extended

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
    if any(tensor.name not in known for tensor in tensors) or not tensors:
        return snapshot_grams(run, tensors)
    before = {known[tensor.name].snapshots for tensor in tensors}
    first = min(before)
    finite = all(known[tensor.name].finite.all() for tensor in tensors)
    if len(before) > 1 or not _LEAST_KNOWN <= first <= snapshots or not finite:
        return snapshot_grams(run, tensors)
    if first == snapshots:
        return known
    plan = Plan.of(snapshots)
    store = GramStore(snapshots)
    store.note(plan.note)
    portions = [Portion(tensor, 0, tensor.size) for tensor in tensors]
    for portion, rest in portion_grams(run, portions, since=first - 2, plan=plan):
        whole = extended(known[portion.tensor.name], rest, AGREEMENT[plan.precision])
        if whole is None:
            return snapshot_grams(run, tensors)
        store.put(portion.tensor.name, whole)
    return store
