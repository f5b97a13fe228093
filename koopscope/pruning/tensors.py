"""Which tensors may be pruned, which stay whole, and which are one tensor under several names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from koopscope.analysis.analysis import Analysis
from koopscope.errors import KoopscopeError
from koopscope.runs.names import TensorFilter
from koopscope.runs.roles import SMALL, role
from koopscope.runs.run import TensorInfo


@dataclass(frozen=True)
class Prunable:
    """A tensor that may be pruned, and the other names under which it was recorded."""

    tensor: TensorInfo
    other_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of it, its own first."""
        return (self.tensor.name, *self.other_names)


@dataclass(frozen=True)
class Kept:
    """A parameter that stays whole, and why: what follows "it is"."""

    tensor: TensorInfo
    reason: str


def chosen_tensors(
    analysis: Analysis, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[tuple[Prunable, ...], tuple[Kept, ...]]:
    """Return what may be pruned and what stays whole, each in model order.

    Matrices and convolution kernels (parameters with two axes or more) that are neither embeddings
    nor norms by ``koopscope.runs.roles``; ``include`` globs choose among all parameters instead.
    A tensor that was recorded under several names is kept if one of them is kept.

    Raises
    ------
    KoopscopeError
        If nothing is left to prune.
    """
    parameters = tied_tensors(analysis)
    matrices = [p.tensor for p in parameters if len(p.tensor.shape) >= 2]
    chosen, kept = [], []
    for prunable in parameters:
        reason = _why_kept(prunable, matrices, include, exclude)
        if reason is None:
            chosen.append(prunable)
        else:
            kept.append(Kept(prunable.tensor, reason))
    if not chosen:
        globs = [f"--include {glob}" for glob in include] + [f"--exclude {g}" for g in exclude]
        raise KoopscopeError(
            f"{analysis.description.path} has no tensor left to prune"
            + (f" by {' '.join(globs)}" if globs else ""),
            "biases, norms, buffers and embeddings are kept; name what to prune with --include",
        )
    return tuple(chosen), tuple(kept)


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


def _why_kept(
    prunable: Prunable,
    matrices: Sequence[TensorInfo],
    include: Sequence[str],
    exclude: Sequence[str],
) -> str | None:
    names = prunable.names
    wanted = TensorFilter(tuple(include), tuple(exclude))
    if wanted.excludes(*names):
        return "excluded"
    if include:
        return None if wanted(*names) else "not included"
    if len(prunable.tensor.shape) < 2:
        return SMALL
    return role(names, prunable.tensor, matrices)


def _identity(analysis: Analysis, tensor: TensorInfo) -> object:
    """Return what two recorded tensors share only if they are one: every inner product, exactly."""
    gram = analysis.grams[tensor.name]
    if len(tensor.shape) < 2 or not gram.anchor_square > 0.0:
        return tensor.name
    inner = sha256(gram.anchor_increments.tobytes() + gram.increments.tobytes()).digest()
    return tensor.shape, tensor.dtype, gram.anchor_square, inner
