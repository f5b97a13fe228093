"""Read the runs that are compared once: each one's Gram matrices, by the names of the first run.

Two runs of one network are read side by side, block by block, so that every product between them
is known as well. Holds Gram matrices, never a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from koopscope.comparison.alignment import aligned as units_aligned
from koopscope.comparison.pairing import paired
from koopscope.comparison.sketches import are_of_one_kind, remark, sketched_beside
from koopscope.comparison.subjects import Beside, Choice, Opener, Subject, Subjects
from koopscope.comparison.timeline import timeline
from koopscope.engine.local import LocalPass
from koopscope.engine.sketched import sketched_grams
from koopscope.engine.source import GramSource, ProgressListener
from koopscope.engine.store import GramStore, SomeGrams
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.views.side_by_side import SideBySide
from koopscope.spectra.gram import SnapshotGram


def read_beside(
    first: Run, second: Run, choice: Choice, on_progress: ProgressListener | None = None
) -> Subjects:
    """Read two runs in one pass over both."""
    first, second = choice.seen(first), choice.seen(second)
    tensors = choice.tensors(first.description), choice.tensors(second.description)
    pairing = paired(*tensors, by_order=choice.by_order)
    runs = (first, second)
    steps = [run.description.steps for run in runs]
    said = remark(first, second, pairing)
    aligned = timeline(steps, [np.ones(len(each), np.bool_) for each in steps])
    if said or not pairing.pairs:
        own = [_own(run, each, on_progress) for run, each in zip(runs, tensors, strict=True)]
        sketched = are_of_one_kind(first, second, pairing)
        beside = sketched_beside(first, second, pairing, aligned) if sketched else None
        return Subjects(tuple(own), (pairing,), beside, (said,) if said else ())
    seen, alignment = units_aligned(first, second, pairing, aligned)
    view = SideBySide(first, seen, pairing.pairs, (aligned.indices[0], aligned.indices[1]))
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
    beside = Beside(pairing, joint, view.differences, aligned, alignment)
    return Subjects(tuple(found), (pairing,), beside)


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
    grams: Mapping[str, SnapshotGram]
    if run.description.sketch is not None:
        grams = sketched_grams(run, tensors, on_progress)
    else:
        grams = (source or LocalPass())(run, tensors, on_progress)
    return Subject(run.description, tensors, grams)


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
