"""One pass over a run in this process: every tensor's snapshot Gram matrix, in bounded memory.

Must hold one block and the T x T results, never a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from koopscope.runs.run import Run, TensorInfo
from koopscope.spectra.gram import GramAccumulator, SnapshotGram

#: Called with the number of stored bytes that have just been read.
ProgressListener = Callable[[int], None]


def snapshot_grams(
    run: Run,
    tensors: Sequence[TensorInfo] | None = None,
    on_progress: ProgressListener | None = None,
) -> dict[str, SnapshotGram]:
    """Return the Gram matrix of each tensor by name, in model order, from one streaming pass."""
    chosen = run.description.tensors if tensors is None else tensors
    snapshots = run.description.snapshots
    grams: dict[str, SnapshotGram] = {}
    for tensor in chosen:
        accumulator = GramAccumulator(snapshots)
        for block in run.blocks([tensor]):
            accumulator.add(block.values)
            if on_progress is not None:
                on_progress(block.values.nbytes)
        grams[tensor.name] = accumulator.result()
    return grams
