"""Which tensors may be pruned, and which of them are one tensor under several names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256

from koopscope.analysis.analysis import Analysis
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
    an embedding or a norm; ``include`` globs choose among all parameters instead. A tensor that was
    recorded under several names is kept if one of them is kept.

    Raises
    ------
    KoopscopeError
        If nothing is left.
    """
    chosen = [p for p in tied_tensors(analysis) if _wanted(p, include, exclude)]
    if not chosen:
        globs = [f"--include {glob}" for glob in include] + [f"--exclude {g}" for g in exclude]
        raise KoopscopeError(
            f"{analysis.description.path} has no tensor left to prune"
            + (f" by {' '.join(globs)}" if globs else ""),
            "biases, norms, buffers and embeddings are kept; name what to prune with --include",
        )
    return tuple(chosen)


def tied_tensors(analysis: Analysis) -> tuple[Prunable, ...]:
    """Return the finite parameters of a run in model order, each once with all its names."""
    names: dict[object, list[str]] = {}
    first: dict[object, TensorInfo] = {}
    for tensor in analysis.finite_tensors:
        if tensor.kind == "parameter":
            key = _identity(analysis, tensor)
            first.setdefault(key, tensor)
            names.setdefault(key, []).append(tensor.name)
    return tuple(Prunable(tensor, tuple(names[key][1:])) for key, tensor in first.items())


def _wanted(prunable: Prunable, include: Sequence[str], exclude: Sequence[str]) -> bool:
    names = prunable.names
    if any(fnmatchcase(name, glob) for name in names for glob in exclude):
        return False
    if include:
        return any(fnmatchcase(name, glob) for name in names for glob in include)
    return len(prunable.tensor.shape) >= 2 and not any(
        fnmatchcase(name.lower(), glob) for name in names for glob in KEPT_BY_DEFAULT
    )


def _identity(analysis: Analysis, tensor: TensorInfo) -> object:
    """Return what two recorded tensors share only if they are one: every inner product, exactly."""
    gram = analysis.grams[tensor.name]
    if len(tensor.shape) < 2 or not gram.anchor_square > 0.0:
        return tensor.name
    inner = sha256(gram.anchor_increments.tobytes() + gram.increments.tobytes()).digest()
    return tensor.shape, tensor.dtype, gram.anchor_square, inner
