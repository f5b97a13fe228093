"""``koopscope.prune``: a recorded run in, masks out, for people who are already in Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.choices import Scope, Structure
from koopscope.pruning.masks import Mask, MaskRequest
from koopscope.pruning.prune import Pruner, Pruning
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.arrays.writing import array_writer
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.rank import RankRule

if TYPE_CHECKING:
    from typing_extensions import Unpack

_Kind = TypeVar("_Kind", PruningSettings, MaskRequest)


class PruneOptions(TypedDict, total=False):
    """What can be chosen beside the sparsity: ``PruningSettings`` and ``MaskRequest``."""

    criterion: str
    at: int | None
    include: str | Sequence[str]
    exclude: str | Sequence[str]
    snapshots: int
    rank: RankRule
    seed: int
    scope: Scope
    structure: Structure
    min_keep: int
    allow_empty_layer: bool


@dataclass(frozen=True, eq=False)
class Masks(Mapping[str, Mask]):
    """The masks of one run: a mapping from a parameter's name to its mask.

    Attributes
    ----------
    pruning
        What was asked for, and what stays of each tensor.
    masks
        The same as a plain mapping: bool array by the parameter's own name, in its own shape;
        ``True`` means keep.
    metadata
        What travels with the masks when they are saved.
    """

    pruning: Pruning
    masks: Mapping[str, Mask]
    metadata: Mapping[str, str]

    def __getitem__(self, name: str) -> Mask:
        """Return the mask of a parameter."""
        return self.masks[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the parameters' names, in model order."""
        return iter(self.masks)

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.masks)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the masks to a ``.safetensors``, ``.npz`` or ``.h5`` file.

        Raises
        ------
        KoopscopeError
            If the file cannot be written, or exists and ``force`` is not given.
        """
        specs = {name: ArraySpec(mask.shape, "bool") for name, mask in self.masks.items()}
        with array_writer(path, specs, self.metadata, force=force) as out:
            for name, mask in self.masks.items():
                out.append(name, mask.reshape(-1))


def prune(run: str | os.PathLike[str], sparsity: float, **options: Unpack[PruneOptions]) -> Masks:
    """Say which weights of a recorded run can go: what ``koopscope prune`` does, as data.

    Parameters
    ----------
    run
        A run file, or anything else that ``koopscope.open_run`` opens.
    sparsity
        Share of the prunable weights to remove, in (0, 1).
    **options
        The fields of ``PruningSettings`` (``criterion``, ``at``, ``include``, ...) and of
        ``MaskRequest`` (``scope``, ``structure``, ``min_keep``, ``allow_empty_layer``); a single
        glob need not be in a list.

    Raises
    ------
    KoopscopeError
        If an option is unknown, the run cannot be read, or nothing of it can be pruned.
    """
    names = {f.name for kind in (PruningSettings, MaskRequest) for f in fields(kind)}
    for name in options.keys() - names:
        raise KoopscopeError(
            f"there is no option {name!r} of prune",
            f"there are: {', '.join(sorted(names - {'sparsity'}))}",
        )
    chosen: dict[str, Any] = {**options, "sparsity": sparsity}
    for name in chosen.keys() & {"include", "exclude"}:
        globs = chosen[name]
        chosen[name] = (globs,) if isinstance(globs, str) else tuple(globs)
    request = _chosen(MaskRequest, chosen)
    settings = _chosen(PruningSettings, chosen)
    with (
        open_run(run, weights_for="pruning") as opened,
        Pruner(opened, pruning_basis(opened, settings), settings) as pruner,
    ):
        masks = {}
        for target in pruner.targets(request):
            mask = np.concatenate(list(pruner.mask(request, target)))
            mask = mask.reshape(target.tensor.shape)
            masks.update(dict.fromkeys(target.names, mask))
        return Masks(pruner.prune(request), masks, pruner.metadata(request))


def _chosen(kind: type[_Kind], options: Mapping[str, Any]) -> _Kind:
    return kind(**{f.name: options[f.name] for f in fields(kind) if f.name in options})
