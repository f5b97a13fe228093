"""Find what a pruning rests on: the snapshots up to a step, and the tensors that may be pruned.

Decides which snapshots and which weights are looked at; scores and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine.source import ProgressListener
from koopscope.engine.store import SomeGrams
from koopscope.errors import KoopscopeError
from koopscope.pruning.choices import DEFAULT, RECENT
from koopscope.pruning.tensors import Kept, Prunable, chosen_tensors, tied_tensors
from koopscope.runs.run import Run
from koopscope.spectra.rank import RankRule


@dataclass(frozen=True)
class PruningSettings:
    """What weights are judged by.

    Attributes
    ----------
    criterion
        One of ``koopscope.pruning.criteria.CRITERIA``.
    at
        Judge the last snapshot at or before this optimizer step; the last one if not given.
    include, exclude
        Globs on tensor names; without ``include``, what is usually pruned.
    snapshots
        How many snapshots before that step the criterion may rest on at most; 0 for all.
    rank
        Truncation of the spectrum, see ``koopscope.spectra.rank``.
    seed
        Of the criterion ``random``.
    """

    criterion: str = DEFAULT
    at: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    snapshots: int = RECENT
    rank: RankRule = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.snapshots < 0:
            raise KoopscopeError(
                f"a criterion cannot rest on {self.snapshots} snapshots", "use 0 for all of them"
            )


@dataclass(frozen=True)
class PruningBasis:
    """The part of a run that a pruning rests on.

    Attributes
    ----------
    analysis
        Of the prunable tensors alone, up to the step; its window ends at the snapshot whose
        weights are pruned.
    prunable
        What may be pruned, in model order.
    parameters
        All parameters of the run, tied ones once.
    kept
        Those of them that stay whole, and why.
    notes
        What a reader of the masks should know.
    """

    analysis: Analysis
    prunable: tuple[Prunable, ...]
    parameters: tuple[Prunable, ...]
    kept: tuple[Kept, ...]
    notes: tuple[str, ...]

    @property
    def step(self) -> int:
        """Optimizer step whose weights are judged."""
        return int(self.analysis.description.steps[self.analysis.window.stop - 1])


def pruning_basis(
    run: Run, settings: PruningSettings, on_progress: ProgressListener | None = None
) -> PruningBasis:
    """Read a run once and find what may be pruned.

    Raises
    ------
    KoopscopeError
        If the run cannot be read, nothing may be pruned, or no snapshot lies at the step.
    """
    everything = Analysis.of(
        run, Settings(observable="weights", rank=settings.rank, method="exact"), on_progress
    )
    prunable, kept = chosen_tensors(everything, settings.include, settings.exclude)
    analysis = Analysis(
        everything.description,
        SomeGrams(everything.grams, tuple(p.tensor.name for p in prunable)),
        replace(everything.settings, window=_stretch(everything.description.steps, settings)),
    )
    basis = PruningBasis(analysis, prunable, tied_tensors(everything), kept, ())
    return replace(basis, notes=tuple(_notes(basis, settings)))


def _stretch(steps: npt.NDArray[np.int64], settings: PruningSettings) -> tuple[int, int]:
    """Return the ends of the evenly spaced stretch of steps that ends where weights are judged."""
    if not len(steps):
        raise KoopscopeError(
            "the run holds no snapshot", "record at least one with Recorder.snapshot()"
        )
    at = settings.at
    last = len(steps) - 1 if at is None else int(np.searchsorted(steps, at, side="right")) - 1
    if last < 0:
        raise KoopscopeError(
            f"no snapshot lies at or before step {at}",
            f"the run holds steps {steps[0]} to {steps[-1]}",
        )
    first = last
    earliest = max(0, last + 1 - settings.snapshots) if settings.snapshots else 0
    while first > earliest and steps[first] - steps[first - 1] == steps[last] - steps[last - 1]:
        first -= 1
    return int(steps[first]), int(steps[last])


def _notes(basis: PruningBasis, settings: PruningSettings) -> Iterator[str]:
    steps, judged = basis.analysis.description.steps, basis.step
    asked = int(steps[-1]) if settings.at is None else settings.at
    reached = int(steps[np.searchsorted(steps, asked, side="right") - 1])
    if reached != asked:
        yield f"step {asked} was not recorded: judged at step {judged}"
    elif judged != asked:
        yield f"judged at step {judged}: later snapshots hold weights that are not finite"
    for prunable in basis.prunable:
        if prunable.other_names:
            others = ", ".join(prunable.other_names)
            yield f"{prunable.tensor.name} is also {others}: one tensor, one mask"
