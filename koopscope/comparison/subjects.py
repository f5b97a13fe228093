"""The runs that are compared, read once: each one's Gram matrices, by the names of the first run.

Two runs of one network are read side by side, block by block, so that every product between them
is known as well. Holds Gram matrices, never a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from koopscope.comparison.pairing import Pairing, paired
from koopscope.comparison.timeline import Timeline, timeline
from koopscope.engine.local import LocalPass, Plan
from koopscope.engine.source import GramSource, ProgressListener
from koopscope.engine.store import GramStore, SomeGrams
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, RunDescription, TensorInfo, select_tensors, snapshots_between
from koopscope.runs.views.excerpt import Excerpt
from koopscope.runs.views.side_by_side import SideBySide, TensorDifference
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
    """

    pairing: Pairing
    joint: Mapping[str, SnapshotGram]
    differences: Mapping[str, TensorDifference]
    aligned: Timeline


@dataclass(frozen=True)
class Subjects:
    """All runs of a comparison, the first run's pairing with each, and what was read beside."""

    runs: tuple[Subject, ...]
    pairings: tuple[Pairing, ...]
    beside: Beside | None = field(default=None)

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


def read_beside(
    first: Run, second: Run, choice: Choice, on_progress: ProgressListener | None = None
) -> Subjects:
    """Read two runs in one pass over both."""
    first, second = choice.seen(first), choice.seen(second)
    tensors = choice.tensors(first.description), choice.tensors(second.description)
    pairing = paired(*tensors, by_order=choice.by_order)
    runs = (first, second)
    steps = [run.description.steps for run in runs]
    if not pairing.pairs:
        own = [_own(run, each, on_progress) for run, each in zip(runs, tensors, strict=True)]
        return Subjects(tuple(own), (pairing,))
    aligned = timeline(steps, [np.ones(len(each), np.bool_) for each in steps])
    view = SideBySide(first, second, pairing.pairs, (aligned.indices[0], aligned.indices[1]))
    joint = LocalPass()(view, view.description.tensors, on_progress)
    before, whole = len(steps[0]), len(steps[0]) + len(steps[1])
    found = []
    for k, (run, unpaired, rows) in enumerate(
        (
            (first, pairing.only_first, (0, before)),
            (second, pairing.only_second, (before, whole)),
        )
    ):
        grams: dict[str, SnapshotGram] | Mapping[str, SnapshotGram]
        known = SomeGrams(joint, [one.name for one, _ in pairing.pairs], rows)
        names = {pair[k].name: pair[0].name for pair in pairing.pairs}
        rest = LocalPass()(run, unpaired, on_progress) if unpaired else GramStore(0)
        grams = _Renamed(known, names, rest)
        found.append(Subject(run.description, tensors[k], grams))
    return Subjects(tuple(found), (pairing,), Beside(pairing, joint, view.differences, aligned))


def read_each(
    openers: Sequence[Opener],
    choice: Choice,
    progress: Callable[[Run], ProgressListener | None] = lambda run: None,
    source: GramSource | None = None,
) -> Subjects:
    """Read any number of runs, one after the other; no weight is held against another run's."""
    subjects, pairings = [], []
    for opened in openers:
        with opened() as run:
            seen = choice.seen(run)
            tensors = choice.tensors(seen.description)
            subjects.append(_own(seen, tensors, progress(run), source))
        if len(subjects) > 1:
            pairings.append(paired(subjects[0].tensors, tensors, by_order=choice.by_order))
    return Subjects(tuple(subjects), tuple(pairings))


def _own(
    run: Run,
    tensors: tuple[TensorInfo, ...],
    on_progress: ProgressListener | None,
    source: GramSource | None = None,
) -> Subject:
    return Subject(run.description, tensors, (source or LocalPass())(run, tensors, on_progress))


class _Renamed(Mapping[str, SnapshotGram]):
    """Gram matrices of one run under its own names, some from a pass that knows others."""

    def __init__(
        self,
        known: Mapping[str, SnapshotGram],
        names: Mapping[str, str],
        rest: Mapping[str, SnapshotGram],
    ) -> None:
        self._known, self._names, self._rest = known, names, rest

    def __getitem__(self, name: str) -> SnapshotGram:
        return self._known[self._names[name]] if name in self._names else self._rest[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._names
        yield from self._rest

    def __len__(self) -> int:
        return len(self._names) + len(self._rest)
