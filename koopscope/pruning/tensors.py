"""Which tensors may be pruned, and which of them are one tensor under several names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from koopscope.analysis import Analysis
from koopscope.errors import KoopscopeError
from koopscope.runs.run import TensorInfo

#: Globs of names that are kept unless asked for: a lookup row or a scale that is zeroed is lost
#: whole, where one weight of many is not.
KEPT_BY_DEFAULT = (
    "*embed*",
    "*norm*",
    "*bn[0-9]*",
    "*.bn.*",
    "*token*",
    "*position*",
    "wte*",
    "wpe*",
)


@dataclass(frozen=True)
class Prunable:
    """A tensor that may be pruned, and the other names under which it was recorded."""

    tensor: TensorInfo
    other_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of it, its own first."""
        return (self.tensor.name, *self.other_names)


def prunable_tensors(
    analysis: Analysis, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[Prunable, ...]:
    """Return what may be pruned, in model order.

    Matrices and convolution kernels (parameters with two axes or more) whose names do not look like
    an embedding or a norm; ``include`` globs choose among all parameters instead.

    Raises
    ------
    KoopscopeError
        If nothing is left.
    """
    chosen: list[Prunable] = []
    for tensor in analysis.finite_tensors:
        if not _wanted(tensor, include, exclude):
            continue
        twin = next((i for i, c in enumerate(chosen) if _tied(analysis, c.tensor, tensor)), None)
        if twin is None:
            chosen.append(Prunable(tensor))
        else:
            first = chosen[twin]
            chosen[twin] = Prunable(first.tensor, (*first.other_names, tensor.name))
    if not chosen:
        raise KoopscopeError(
            f"{analysis.description.path} has no tensor left to prune",
            "biases, norms, buffers and embeddings are kept; name what to prune with --include",
        )
    return tuple(chosen)


def _wanted(tensor: TensorInfo, include: Sequence[str], exclude: Sequence[str]) -> bool:
    name = tensor.name
    if tensor.kind != "parameter" or any(fnmatchcase(name, glob) for glob in exclude):
        return False
    if include:
        return any(fnmatchcase(name, glob) for glob in include)
    lowered = name.lower()
    return len(tensor.shape) >= 2 and not any(fnmatchcase(lowered, g) for g in KEPT_BY_DEFAULT)


def _tied(analysis: Analysis, first: TensorInfo, second: TensorInfo) -> bool:
    """Whether two tensors are one: every inner product agrees to the last bit."""
    if first.shape != second.shape or first.dtype != second.dtype or first.size < 2:
        return False
    one, other = analysis.grams[first.name], analysis.grams[second.name]
    return (
        one.anchor_square == other.anchor_square
        and one.anchor_square > 0.0
        and np.array_equal(one.anchor_increments, other.anchor_increments)
        and np.array_equal(one.increments, other.increments)
    )
