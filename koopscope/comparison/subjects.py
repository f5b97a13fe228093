"""What of each run is compared, and what was read of it: Gram matrices, never a weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from koopscope.comparison.alignment import Alignment
from koopscope.comparison.pairing import Pairing
from koopscope.comparison.timeline import Timeline
from koopscope.engine.local import Plan
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, RunDescription, TensorInfo, select_tensors, snapshots_between
from koopscope.runs.views.excerpt import Excerpt
from koopscope.runs.views.side_by_side import TensorDifference
from koopscope.spectra.gram import SnapshotGram, total

Opener = Callable[[], Run]


@dataclass(frozen=True)
class Choice:
    """What of each run is compared.

    Attributes
    ----------
    include, exclude
        Globs on tensor names.
    window
        First and last step, both included; either may be ``None``.
    by_order
        Match the k-th tensor of every run with the k-th of the first, whatever its name.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    window: tuple[int | None, int | None] = (None, None)
    by_order: bool = False

    def seen(self, run: Run) -> Run:
        """Return the run, or its snapshots inside the window."""
        low, high = self.window
        if low is None and high is None:
            return run
        steps = run.description.steps
        first, stop = snapshots_between(steps, self.window)
        if first >= stop:
            raise KoopscopeError(
                f"{run.description.path} has no snapshot in the window",
                f"it holds steps {steps[0]} to {steps[-1]}" if len(steps) else "record some",
            )
        return Excerpt(run, slice(first, stop), Plan.of(len(steps)).width)

    def tensors(self, description: RunDescription) -> tuple[TensorInfo, ...]:
        """Return the tensors that are compared, in model order."""
        return select_tensors(description, self.include, self.exclude)


@dataclass(frozen=True)
class Subject:
    """One run: its description, and the Gram matrix of each compared tensor by its own name."""

    description: RunDescription
    tensors: tuple[TensorInfo, ...]
    grams: Mapping[str, SnapshotGram]

    @cached_property
    def finite(self) -> npt.NDArray[np.bool_]:
        """bool [T], the snapshots in which every weight is finite."""
        found = np.ones(self.description.snapshots, np.bool_)
        for tensor in self.tensors:
            found &= self.grams[tensor.name].finite
        return found

    @property
    def breaks_at_step(self) -> int | None:
        """The first step at which a weight is not finite; ``None`` where all are."""
        bad = np.flatnonzero(~self.finite)
        return int(self.description.steps[bad[0]]) if len(bad) else None

    @property
    def network(self) -> tuple[TensorInfo, ...]:
        """What the optimizer trains; everything, where there is nothing else."""
        trained = tuple(tensor for tensor in self.tensors if tensor.kind != "buffer")
        return trained or self.tensors

    def gram(self, members: Sequence[TensorInfo]) -> SnapshotGram:
        """Return the Gram matrix of some tensors together."""
        return total(self.grams[tensor.name].of_pairs() for tensor in members)


@dataclass(frozen=True)
class Beside:
    """What only two runs read side by side know.

    Attributes
    ----------
    pairing
        Which tensor stood beside which.
    joint
        Products of both runs' snapshots, by the first's names.
    differences
        By the first's names.
    aligned
        The snapshots that ``differences`` are of.
    alignment
        How hidden units were brought into one order; ``None`` where none may change places.
    """

    pairing: Pairing
    joint: Mapping[str, SnapshotGram]
    differences: Mapping[str, TensorDifference]
    aligned: Timeline
    alignment: Alignment | None = None


@dataclass(frozen=True)
class Subjects:
    """All runs of a comparison, the first run's pairing with each, and what was read beside.

    Remarks are sentences that a reader of the numbers has to know.
    """

    runs: tuple[Subject, ...]
    pairings: tuple[Pairing, ...]
    beside: Beside | None = field(default=None)
    remarks: tuple[str, ...] = ()

    @property
    def are_alike(self) -> bool:
        """Whether every run holds the same network."""
        return all(pairing.is_complete for pairing in self.pairings)

    def layers(self) -> dict[str, list[tuple[TensorInfo, ...]]]:
        """Return each layer's tensors in each run; none unless all hold the same network."""
        if not self.are_alike:
            return {}
        partners = [{one.name: other for one, other in pairing.pairs} for pairing in self.pairings]
        found: dict[str, list[tuple[TensorInfo, ...]]] = {}
        by_layer: dict[str, list[TensorInfo]] = {}
        for tensor in self.runs[0].network:
            by_layer.setdefault(tensor.layer, []).append(tensor)
        for layer, members in by_layer.items():
            found[layer] = [tuple(members)]
            found[layer] += [tuple(known[each.name] for each in members) for known in partners]
        return found
