"""From scores to masks: how many weights each tensor keeps, and which.

Holds thresholds and counts, never a whole mask; ``True`` means keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.pruning.selection import Threshold, largest
from koopscope.pruning.spool import ScoreSpool
from koopscope.runs.run import TensorInfo

Scope = Literal["global", "layer"]
Structure = Literal["weight", "unit"]

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
        ``weight``: single weights; ``unit``: whole rows (the first axis of a tensor).
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

    def floor(self, tensor: TensorInfo) -> int:
        """Return how many weights (or units) the tensor keeps at least."""
        least = max(self.min_keep, 0 if self.allow_empty_layer else 1)
        return min(least, tensor.shape[0] if self.structure == "unit" else tensor.size)


def weight_thresholds(
    spool: ScoreSpool, criterion: str, request: MaskRequest
) -> dict[str, Threshold]:
    """Return each tensor's threshold; together they keep exactly the share asked for.

    A tensor that would fall under its floor is given its floor, and the others share the rest.
    """
    if request.scope == "layer":
        return {
            tensor.name: _top(spool, criterion, tensor, request, _kept(tensor.size, request))
            for tensor in spool.tensors
        }
    held_back: dict[str, Threshold] = {}
    while True:
        free = [tensor for tensor in spool.tensors if tensor.name not in held_back]
        total = sum(tensor.size for tensor in spool.tensors)
        guaranteed = sum(
            request.floor(tensor) for tensor in spool.tensors if tensor.name in held_back
        )
        budget = max(0, _kept(total, request) - guaranteed)
        shared = largest(
            lambda free=free: (s for tensor in free for s in spool.scores(criterion, tensor)),  # type: ignore[misc]
            min(budget, sum(tensor.size for tensor in free)),
            sum(tensor.size for tensor in free),
        )
        thresholds, counts = _per_tensor(spool, criterion, free, shared)
        short = [tensor for tensor in free if counts[tensor.name] < request.floor(tensor)]
        if not short:
            return {
                tensor.name: thresholds.get(tensor.name) or held_back[tensor.name]
                for tensor in spool.tensors
            }
        for tensor in short:
            held_back[tensor.name] = _top(spool, criterion, tensor, request, 0)


def _kept(size: int, request: MaskRequest) -> int:
    return size - round(request.sparsity * size)


def _top(
    spool: ScoreSpool, criterion: str, tensor: TensorInfo, request: MaskRequest, keep: int
) -> Threshold:
    keep = max(keep, request.floor(tensor))
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


def unit_choices(spool: ScoreSpool, criterion: str, request: MaskRequest) -> dict[str, Mask]:
    """Return for each tensor which units (rows) it keeps.

    Units compete by their mean score; they are taken best first until the kept weights reach the
    share asked for.
    """
    scores = {tensor.name: spool.unit_scores(criterion, tensor) for tensor in spool.tensors}
    if request.scope == "layer":
        groups: Sequence[Sequence[TensorInfo]] = [[tensor] for tensor in spool.tensors]
    else:
        groups = [spool.tensors]
    chosen: dict[str, Mask] = {}
    for group in groups:
        chosen.update(_best_units(group, scores, request))
    return chosen


def _best_units(
    tensors: Sequence[TensorInfo],
    scores: Mapping[str, npt.NDArray[np.float64]],
    request: MaskRequest,
) -> dict[str, Mask]:
    owners = np.concatenate([np.full(t.shape[0], i) for i, t in enumerate(tensors)])
    values = np.concatenate([scores[t.name] for t in tensors])
    widths = np.array([t.size // t.shape[0] for t in tensors])
    rank = np.empty(len(values), np.intp)  # a unit's place within its own tensor, best first
    for i in range(len(tensors)):
        mine = np.flatnonzero(owners == i)
        rank[mine[np.argsort(-values[mine], kind="stable")]] = np.arange(len(mine))
    floors = np.array([request.floor(t) for t in tensors])
    guaranteed = rank < floors[owners]
    order = np.lexsort((-values, ~guaranteed))
    budget = _kept(sum(t.size for t in tensors), request)
    spent = np.cumsum(widths[owners[order]])
    keep = np.zeros(len(values), np.bool_)
    keep[order] = (spent <= budget) | guaranteed[order]
    return {tensor.name: keep[owners == i] for i, tensor in enumerate(tensors)}


def mask_chunks(
    spool: ScoreSpool, criterion: str, tensor: TensorInfo, threshold: Threshold
) -> Iterator[Mask]:
    """Yield a tensor's mask in flattened order, a chunk at a time."""
    used = 0
    for chunk in spool.scores(criterion, tensor):
        mask, used = threshold.keep(chunk, used)
        yield mask
