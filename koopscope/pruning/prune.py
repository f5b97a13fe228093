"""Prune a recorded run: turn scores and a request into masks, and a record of what stays.

Holds scores on disk and masks a part at a time; writes nothing but what it is told to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from koopscope.engine.source import ProgressListener
from koopscope.export.arrays import RunArrays, origin
from koopscope.pruning.basis import PruningBasis, PruningSettings
from koopscope.pruning.criteria import Criterion, criterion
from koopscope.pruning.masks import Mask, MaskRequest, mask_chunks, weight_thresholds
from koopscope.pruning.score_file import CHUNK, ScoreSpool
from koopscope.pruning.selection import Threshold
from koopscope.pruning.tensors import Prunable
from koopscope.pruning.units import (
    AxisMasks,
    UnitPlan,
    axis_mask_chunks,
    unit_choices,
    unit_plan,
)
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.run import Run, RunDescription, TensorInfo

#: What every mask is compared with.
BASELINE = "magnitude"

#: What stays of each tensor, by name.
Choices = Mapping[str, Threshold | AxisMasks]


@dataclass(frozen=True)
class TensorDensity:
    """How one tensor was pruned.

    Attributes
    ----------
    name, layer, total, kept
        The tensor, its layer, its number of weights, and how many of them stay.
    shared
        How many of those that stay, magnitude pruning at the same request keeps too.
    squares, squares_kept
        Sum of the squared weights, and of those that stay; 0 of a bias that goes with its unit.
    """

    name: str
    layer: str
    total: int
    kept: int
    shared: int
    squares: float = 0.0
    squares_kept: float = 0.0


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
    notes
        What a reader of the masks should know.
    """

    criterion: Criterion
    request: MaskRequest
    step: int
    tensors: tuple[TensorDensity, ...]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Number of weights in the masks."""
        return sum(tensor.total for tensor in self.tensors)

    @property
    def kept(self) -> int:
        """Number of weights that stay."""
        return sum(tensor.kept for tensor in self.tensors)

    @property
    def overlap(self) -> float | None:
        """Share of the kept weights that magnitude pruning keeps too."""
        shared = sum(tensor.shared for tensor in self.tensors)
        return shared / self.kept if self.kept else None

    @property
    def removed(self) -> float:
        """Share of the squared norm of the pruned tensors that goes."""
        squares = sum(tensor.squares for tensor in self.tensors)
        return 1.0 - sum(t.squares_kept for t in self.tensors) / squares if squares else 0.0


@dataclass(frozen=True)
class ScoreSample:
    """Some weights of a run: float64 [n] each, and whether they stay."""

    scores: npt.NDArray[np.float64]
    magnitudes: npt.NDArray[np.float64]
    kept: Mask


class Pruner:
    """Scores a run once and answers any number of requests; close it, or use it as a context.

    Parameters
    ----------
    run
        The run that is pruned.
    basis
        From ``pruning_basis``, of that run.
    settings
        The criterion, and the seed of ``random``.
    on_progress
        Called with the bytes of each block that has been scored.

    Raises
    ------
    KoopscopeError
        If the criterion cannot be had from this run.
    """

    def __init__(
        self,
        run: Run,
        basis: PruningBasis,
        settings: PruningSettings,
        on_progress: ProgressListener | None = None,
    ) -> None:
        self.criterion = criterion(settings.criterion, basis.analysis, settings.seed)
        self.basis = basis
        self._asked = bool(settings.include)
        self._choices: dict[tuple[str, MaskRequest], Choices] = {}
        criteria = [self.criterion]
        if settings.criterion != BASELINE:
            criteria.append(criterion(BASELINE, basis.analysis))
        tensors = [prunable.tensor for prunable in basis.prunable]
        self._spool = ScoreSpool(run, tensors, criteria, on_progress)

    def prune(self, request: MaskRequest) -> Pruning:
        """Decide what stays, and compare it with magnitude pruning.

        Raises
        ------
        KoopscopeError
            If units are asked for and no layer has any to lose.
        """
        chosen = self._choice(self.criterion.name, request)
        baseline = self._choice(BASELINE, request)
        rows = []
        for target in self.targets(request):
            tensor = target.tensor
            kept = shared = 0
            squares = squares_kept = 0.0
            parts = zip(
                self._mask(self.criterion.name, tensor, chosen[tensor.name]),
                self._mask(BASELINE, tensor, baseline[tensor.name]),
                self._magnitudes(tensor),
                strict=True,
            )
            for mask, usual, magnitudes in parts:
                kept += int(np.count_nonzero(mask))
                shared += int(np.count_nonzero(mask & usual))
                squares += float(magnitudes @ magnitudes)
                squares_kept += float(magnitudes[mask] @ magnitudes[mask])
            rows.append(
                TensorDensity(
                    tensor.name, tensor.layer, tensor.size, kept, shared, squares, squares_kept
                )
            )
        notes = self.basis.notes
        if request.structure == "unit":
            notes += self._plan.notes
        return Pruning(self.criterion, request, self.basis.step, tuple(rows), notes)

    def targets(self, request: MaskRequest) -> tuple[Prunable, ...]:
        """Return every tensor that gets a mask, in model order."""
        if request.structure == "weight":
            return self.basis.prunable
        touched = {tensor.name for tensor in self._plan.tensors}
        return tuple(p for p in self.basis.parameters if p.tensor.name in touched)

    def mask(self, request: MaskRequest, target: Prunable) -> Iterator[Mask]:
        """Yield the parts of one target's flattened mask; ``True`` means keep."""
        chosen = self._choice(self.criterion.name, request)
        return self._mask(self.criterion.name, target.tensor, chosen[target.tensor.name])

    def sample(self, request: MaskRequest, count: int) -> ScoreSample:
        """Return about ``count`` weights, evenly spread over the prunable ones."""
        tensors = self._spool.tensors
        every = max(1, sum(tensor.size for tensor in tensors) // count)
        chosen = self._choice(self.criterion.name, request)
        parts: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], Mask]] = []
        for tensor in tensors:
            scores = self._spool.sample(self.criterion.name, tensor, every)
            magnitudes = self._spool.sample(BASELINE, tensor, every)
            choice = chosen.get(tensor.name, ())  # outputs are kept whole
            mask = np.concatenate(list(self._mask(self.criterion.name, tensor, choice)))
            parts.append((scores, magnitudes, mask[::every]))
        scores, magnitudes, kept = (np.concatenate(column) for column in zip(*parts, strict=True))
        return ScoreSample(scores, magnitudes, kept)

    def write(
        self, path: str | os.PathLike[str], request: MaskRequest, *, force: bool = False
    ) -> None:
        """Write the masks, each under every name of its tensor; nothing is left of a failed write.

        Raises
        ------
        KoopscopeError
            If the file cannot be written, or exists and ``force`` is not given.
        """
        specs = {
            name: ArraySpec(target.tensor.shape, "bool")
            for target in self.targets(request)
            for name in target.names
        }
        parts = (
            (name, mask)
            for target in self.targets(request)
            for name in target.names
            for mask in self.mask(request, target)
        )
        RunArrays(self._description, specs, self._facts(request)).write(path, parts, force=force)

    def metadata(self, request: MaskRequest) -> dict[str, str]:
        """Return what travels with the masks."""
        return origin(self._description, self._facts(request))

    @property
    def _description(self) -> RunDescription:
        return self.basis.analysis.description

    def _facts(self, request: MaskRequest) -> dict[str, str]:
        return {
            "step": str(self.basis.step),
            "criterion": self.criterion.name,
            "sparsity": f"{request.sparsity:g}",
            "scope": request.scope,
            "structure": request.structure,
        }

    def close(self) -> None:
        """Give the disk space of the scores back."""
        self._spool.close()

    def __enter__(self) -> Pruner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @cached_property
    def _plan(self) -> UnitPlan:
        return unit_plan(
            [p.tensor for p in self.basis.parameters],
            [p.tensor for p in self.basis.prunable],
            self._asked,
        )

    def _magnitudes(self, tensor: TensorInfo) -> Iterator[npt.NDArray[np.float64]]:
        """Yield |w| along with a mask; zeros of what was not scored: a unit's own bias."""
        if tensor in self._spool.tensors:
            return self._spool.scores(BASELINE, tensor)
        starts = range(0, tensor.size, CHUNK)
        return (np.zeros(min(CHUNK, tensor.size - start)) for start in starts)

    def _choice(self, name: str, request: MaskRequest) -> Choices:
        if (name, request) not in self._choices:
            self._choices[name, request] = (
                unit_choices(self._spool, name, request, self._plan)
                if request.structure == "unit"
                else weight_thresholds(self._spool, name, request)
            )
        return self._choices[name, request]

    def _mask(self, name: str, tensor: TensorInfo, choice: Threshold | AxisMasks) -> Iterator[Mask]:
        if isinstance(choice, Threshold):
            return mask_chunks(self._spool, name, tensor, choice)
        return axis_mask_chunks(tensor, choice)
