"""A pruned copy of a checkpoint: zeros where the mask says so, every other bit as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.pruning.tensors import Prunable
from koopscope.runs.arrays.reading import ArraySource, SourceArray, Words, array_source
from koopscope.runs.arrays.writing import array_writer
from koopscope.runs.names import plain_names

#: Names of tensors listed in a note at most.
_NAMED = 3


def apply_masks(
    pruner: Pruner,
    request: MaskRequest,
    checkpoint: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
) -> tuple[str, ...]:
    """Write a copy of a checkpoint with zeros in place of pruned weights.

    Parameters
    ----------
    pruner, request
        What to prune.
    checkpoint
        A ``.safetensors`` or ``.npz`` file, or a run, whose last snapshot is copied.
    output
        ``.safetensors``, ``.npz`` or ``.h5``; nothing is left of a failed write.
    force
        Replace an existing file.

    Returns
    -------
    Sentences on what the copy holds beyond the masks' tensors, and on what it lacks.

    Raises
    ------
    KoopscopeError
        If the checkpoint is of another network: the tensor and both shapes are named.
    """
    with array_source(checkpoint) as source:
        masked = _matched(source, pruner.targets(request))
        specs = {array.name: array.spec for array in source.arrays}
        said = {f"koopscope.{key}": text for key, text in pruner.metadata(request).items()}
        with array_writer(output, specs, {**source.metadata, **said}, force=force) as out:
            for array in source.arrays:
                parts = array.parts()
                if array.name in masked:
                    parts = _pruned(parts, pruner, request, masked[array.name])
                for words in parts:
                    out.append(array.name, words)
        return tuple(_notes(source, pruner))


def _matched(source: ArraySource, targets: tuple[Prunable, ...]) -> Mapping[str, Prunable]:
    """Return the target of each array that has one, by the array's own name."""
    shown = plain_names([array.name for array in source.arrays])
    arrays = {shown[array.name]: array for array in source.arrays}
    matched: dict[str, Prunable] = {}
    for target in targets:
        present = [arrays[name] for name in target.names if name in arrays]
        if not present:
            raise KoopscopeError(
                f"{source.path} has no tensor {target.tensor.name}, which the masks prune",
                "the masks are of another network; compare both with `koopscope inspect`",
            )
        for array in present:
            _must_fit(source, array, target)
            matched[array.name] = target
    return matched


def _must_fit(source: ArraySource, array: SourceArray, target: Prunable) -> None:
    if array.spec.shape != target.tensor.shape:
        raise KoopscopeError(
            f"{array.name} has shape {list(array.spec.shape)} in {source.path} and "
            f"{list(target.tensor.shape)} in the run",
            "the masks are of another network; compare both with `koopscope inspect`",
        )


def _pruned(
    parts: Iterator[Words], pruner: Pruner, request: MaskRequest, target: Prunable
) -> Iterator[Words]:
    mask = np.concatenate(list(pruner.mask(request, target)))
    start = 0
    for words in parts:
        # All kinds of numbers are zero where all their bits are.
        yield np.where(mask[start : start + len(words)], words, words.dtype.type(0))
        start += len(words)


def _notes(source: ArraySource, pruner: Pruner) -> Iterator[str]:
    known = {tensor.name for tensor in pruner.basis.analysis.description.tensors}
    shown = plain_names([array.name for array in source.arrays])
    floats = [array for array in source.arrays if array.spec.dtype.lstrip("b").startswith("float")]
    new = [array.name for array in floats if shown[array.name] not in known]
    if new:
        yield f"copied unchanged, not in the run: {_listed(new)}"
    if source.left_out:
        left_out = [f"{entry.name} ({entry.reason})" for entry in source.left_out]
        yield f"not copied: {_listed(left_out)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
