"""From scores to masks of single weights: how many each tensor keeps, and which.

Holds thresholds and counts, never a whole mask; ``True`` means keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.pruning.choices import Scope, Structure
from koopscope.pruning.score_file import ScoreSpool
from koopscope.pruning.selection import Threshold, largest
from koopscope.runs.run import TensorInfo

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskRequest:
    """What the user asked for.

    Attributes
    ----------
    sparsity
        Share of the prunable weights to remove, in (0, 1).
    scope
        ``global``: one threshold for all tensors; ``layer``: the same share of each.
    structure
        ``weight``: single weights; ``unit``: whole units, see ``koopscope.pruning.units``.
    min_keep
        Least number of weights (or units) that each tensor keeps.
    allow_empty_layer
        Let a tensor lose everything; otherwise it keeps its best weight (or unit).
    """

    sparsity: float
    scope: Scope = "global"
    structure: Structure = "weight"
    min_keep: int = 0
    allow_empty_layer: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.sparsity < 1.0:
            raise KoopscopeError(
                f"a sparsity of {self.sparsity:g} is not between 0 and 1",
                "it is the share of weights to remove, for example 0.9",
            )
        if self.min_keep < 0:
            raise KoopscopeError(f"{self.min_keep} weights cannot be kept", "use 0 or more")

    def floor(self, available: int) -> int:
        """Return how many of a tensor's weights (or units) stay at least."""
        return min(available, max(self.min_keep, 0 if self.allow_empty_layer else 1))

    def keeps(self, available: int) -> int:
        """Return how many of so many weights (or units) are to stay."""
        return available - round(self.sparsity * available)


def weight_thresholds(
    spool: ScoreSpool, criterion: str, request: MaskRequest
) -> dict[str, Threshold]:
    """Return each tensor's threshold; together they keep exactly the share asked for.

    A tensor that would fall under its floor is given its floor, and the others share the rest.
    """
    if request.scope == "layer":
        return {
            tensor.name: _top(spool, criterion, tensor, request, request.keeps(tensor.size))
            for tensor in spool.tensors
        }
    held_back: dict[str, Threshold] = {}
    while True:
        free = [tensor for tensor in spool.tensors if tensor.name not in held_back]
        total = sum(tensor.size for tensor in spool.tensors)
        guaranteed = sum(
            request.floor(tensor.size) for tensor in spool.tensors if tensor.name in held_back
        )
        budget = max(0, request.keeps(total) - guaranteed)
        shared = largest(
            lambda free=free: (s for tensor in free for s in spool.scores(criterion, tensor)),  # type: ignore[misc]
            min(budget, sum(tensor.size for tensor in free)),
            sum(tensor.size for tensor in free),
        )
        thresholds, counts = _per_tensor(spool, criterion, free, shared)
        short = [tensor for tensor in free if counts[tensor.name] < request.floor(tensor.size)]
        if not short:
            return {
                tensor.name: thresholds.get(tensor.name) or held_back[tensor.name]
                for tensor in spool.tensors
            }
        for tensor in short:
            held_back[tensor.name] = _top(spool, criterion, tensor, request, 0)


def _top(
    spool: ScoreSpool, criterion: str, tensor: TensorInfo, request: MaskRequest, keep: int
) -> Threshold:
    keep = max(keep, request.floor(tensor.size))
    return largest(lambda: spool.scores(criterion, tensor), keep, tensor.size)


def _per_tensor(
    spool: ScoreSpool, criterion: str, tensors: Sequence[TensorInfo], shared: Threshold
) -> tuple[dict[str, Threshold], dict[str, int]]:
    """Split a shared threshold: ties go to the tensors in model order."""
    thresholds: dict[str, Threshold] = {}
    counts: dict[str, int] = {}
    ties_left = shared.ties
    for tensor in tensors:
        above = equal = 0
        for chunk in spool.scores(criterion, tensor):
            above += int(np.count_nonzero(chunk > shared.value))
            equal += int(np.count_nonzero(chunk == shared.value))
        ties = min(equal, ties_left)
        ties_left -= ties
        thresholds[tensor.name] = Threshold(shared.value, ties)
        counts[tensor.name] = above + ties
    return thresholds, counts


def mask_chunks(
    spool: ScoreSpool, criterion: str, tensor: TensorInfo, threshold: Threshold
) -> Iterator[Mask]:
    """Yield a tensor's mask in flattened order, a chunk at a time."""
    used = 0
    for chunk in spool.scores(criterion, tensor):
        mask, used = threshold.keep(chunk, used)
        yield mask
