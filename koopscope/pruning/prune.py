"""Prune a recorded run: from a criterion and a sparsity to masks on disk and a record of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from koopscope import __version__
from koopscope.analysis import Analysis
from koopscope.pruning.criteria import Criterion, criterion
from koopscope.pruning.masks import (
    Mask,
    MaskRequest,
    mask_chunks,
    unit_choices,
    weight_thresholds,
)
from koopscope.pruning.selection import Threshold
from koopscope.pruning.spool import ScoreSpool
from koopscope.pruning.tensors import Prunable
from koopscope.runs.arrayfile import ArraySpec, array_writer
from koopscope.runs.run import Run, TensorInfo

#: What every mask is compared with.
BASELINE = "magnitude"


@dataclass(frozen=True)
class TensorDensity:
    """How one tensor was pruned.

    Attributes
    ----------
    name, total, kept
        The tensor, its number of weights, and how many of them stay.
    overlap
        Share of the kept weights that magnitude pruning at the same request keeps too.
    """

    name: str
    total: int
    kept: int
    overlap: float | None


@dataclass(frozen=True)
class Pruning:
    """One set of masks.

    Attributes
    ----------
    criterion, request
        What was asked for.
    step
        Optimizer step whose weights were judged.
    tensors
        One row per pruned tensor, in model order.
    """

    criterion: Criterion
    request: MaskRequest
    step: int
    tensors: tuple[TensorDensity, ...]

    @property
    def total(self) -> int:
        """Number of prunable weights."""
        return sum(tensor.total for tensor in self.tensors)

    @property
    def kept(self) -> int:
        """Number of weights that stay."""
        return sum(tensor.kept for tensor in self.tensors)

    @property
    def overlap(self) -> float | None:
        """Share of all kept weights that magnitude pruning keeps too."""
        both = [
            tensor.overlap * tensor.kept for tensor in self.tensors if tensor.overlap is not None
        ]
        return sum(both) / self.kept if self.kept and len(both) == len(self.tensors) else None


class Pruner:
    """Scores a run once and answers any number of requests; close it, or use it as a context.

    Parameters
    ----------
    run, analysis
        The run and its analysis up to the step at which it is pruned.
    prunable
        From ``prunable_tensors``.
    name, seed
        The criterion, and the seed of ``random``.

    Raises
    ------
    KoopscopeError
        If the criterion cannot be had from this run.
    """

    def __init__(
        self,
        run: Run,
        analysis: Analysis,
        prunable: Sequence[Prunable],
        name: str = BASELINE,
        seed: int = 0,
    ) -> None:
        self.criterion = criterion(name, analysis, seed)
        self.prunable = tuple(prunable)
        self.step = int(analysis.description.steps[analysis.window.stop - 1])
        criteria = [self.criterion]
        if name != BASELINE:
            criteria.append(criterion(BASELINE, analysis))
        self._spool = ScoreSpool(run, [p.tensor for p in self.prunable], criteria)

    def prune(self, request: MaskRequest) -> Pruning:
        """Decide what stays, and compare it with magnitude pruning."""
        chosen = self._choice(self.criterion.name, request)
        baseline = self._choice(BASELINE, request)
        rows = []
        for prunable in self.prunable:
            tensor = prunable.tensor
            kept = both = 0
            pairs = zip(
                self._mask(self.criterion.name, tensor, chosen[tensor.name]),
                self._mask(BASELINE, tensor, baseline[tensor.name]),
                strict=True,
            )
            for mask, usual in pairs:
                kept += int(np.count_nonzero(mask))
                both += int(np.count_nonzero(mask & usual))
            rows.append(
                TensorDensity(tensor.name, tensor.size, kept, both / kept if kept else None)
            )
        return Pruning(self.criterion, request, self.step, tuple(rows))

    def masks(self, request: MaskRequest) -> Iterator[tuple[Prunable, Mask]]:
        """Yield (tensor, next part of its flattened mask) in model order; ``True`` means keep."""
        chosen = self._choice(self.criterion.name, request)
        for prunable in self.prunable:
            tensor = prunable.tensor
            for mask in self._mask(self.criterion.name, tensor, chosen[tensor.name]):
                yield prunable, mask

    def write(
        self,
        path: str | os.PathLike[str],
        request: MaskRequest,
        run: str,
        *,
        force: bool = False,
    ) -> None:
        """Write the masks, each under every name of its tensor; nothing is left of a failed write.

        Raises
        ------
        KoopscopeError
            If the file cannot be written, or exists and ``force`` is not given.
        """
        metadata = {
            "run": os.path.basename(run),
            "step": str(self.step),
            "criterion": self.criterion.name,
            "sparsity": f"{request.sparsity:g}",
            "scope": request.scope,
            "structure": request.structure,
            "koopscope": __version__,
        }
        specs = {
            name: ArraySpec(prunable.tensor.shape, "bool")
            for prunable in self.prunable
            for name in prunable.names
        }
        chosen = self._choice(self.criterion.name, request)
        with array_writer(path, specs, metadata, force=force) as out:
            for prunable in self.prunable:
                for name in prunable.names:
                    tensor = prunable.tensor
                    for mask in self._mask(self.criterion.name, tensor, chosen[tensor.name]):
                        out.append(name, mask)

    def close(self) -> None:
        """Give the disk space of the scores back."""
        self._spool.close()

    def __enter__(self) -> Pruner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _choice(self, name: str, request: MaskRequest) -> Mapping[str, Threshold | Mask]:
        choose = unit_choices if request.structure == "unit" else weight_thresholds
        return choose(self._spool, name, request)

    def _mask(self, name: str, tensor: TensorInfo, choice: Threshold | Mask) -> Iterator[Mask]:
        if isinstance(choice, Threshold):
            yield from mask_chunks(self._spool, name, tensor, choice)
            return
        row = tensor.size // tensor.shape[0]
        start = 0
        for chunk in self._spool.scores(name, tensor):
            yield choice[np.arange(start, start + len(chunk)) // row]
            start += len(chunk)
