"""Are these trainings the same dynamics? Runs in, a ``Comparison`` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike

import numpy as np

from koopscope._threads import product_threads
from koopscope.comparison.reading import read_beside, read_each
from koopscope.comparison.results import Comparison
from koopscope.comparison.sides import held_against
from koopscope.comparison.subjects import Choice, Opener, Subjects
from koopscope.engine.source import ProgressListener
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run

Path = str | PathLike[str]

Progress = Callable[[Run], ProgressListener | None]


def compare(
    first: Path | Sequence[Path],
    *others: Path | Sequence[Path],
    names: Sequence[str] = (),
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    window: tuple[int | None, int | None] = (None, None),
    match_by_order: bool = False,
) -> Comparison:
    """Tell whether trainings are the same dynamics: what ``koopscope compare`` prints, as data.

    Parameters
    ----------
    first, others
        Runs that ``koopscope.open_run`` opens, or lists of runs that repeat one recipe with other
        seeds. The first is held against each of the others.
    names
        What to call the sides; by default the groups are called A, B, ... and runs by their paths.
    include, exclude
        Globs on tensor names; a single one need not be in a list.
    window
        First and last step to compare, both included; ``None`` leaves a side open.
    match_by_order
        Match the k-th tensor of every run with the k-th of the first, whatever its name.

    Raises
    ------
    KoopscopeError
        If there is nothing to compare with, a run cannot be read, or too few snapshots can be held
        against each other.
    """
    sides = [first, *others]
    called = list(names) or [_usual_name(side, k) for k, side in enumerate(sides)]
    if len(called) != len(sides):
        raise KoopscopeError(
            f"{len(called)} names were given for {len(sides)} sides", "give one name for each"
        )
    choice = Choice(
        (include,) if isinstance(include, str) else tuple(include),
        (exclude,) if isinstance(exclude, str) else tuple(exclude),
        (window[0], window[1]),
        match_by_order,
    )
    openers = [
        (name, [partial(open_run, path) for path in _paths(side)])
        for name, side in zip(called, sides, strict=True)
    ]
    return compare_opened(openers, choice)


def _paths(side: Path | Sequence[Path]) -> Sequence[Path]:
    return [side] if isinstance(side, (str, PathLike)) else side


def _usual_name(side: Path | Sequence[Path], k: int) -> str:
    return str(side) if isinstance(side, (str, PathLike)) else chr(ord("A") + k % 26)


@product_threads(1)
def compare_opened(
    sides: Sequence[tuple[str, Sequence[Opener]]],
    choice: Choice | None = None,
    progress: Callable[[Sequence[Run]], ProgressListener | None] = lambda runs: None,
) -> Comparison:
    """Compare sides by how their runs are opened.

    Parameters
    ----------
    sides
        Each side's name and how its runs are opened, the reference first; at least two.
    choice
        What of each run is compared.
    progress
        Returns a listener for the reading of some runs.
    """
    choice = choice or Choice()
    if len(sides) < 2 or not all(runs for _, runs in sides):
        raise KoopscopeError(
            "there is nothing to compare with", "name two runs, or two groups that match files"
        )
    called = [name for name, _ in sides]
    groups = [runs for _, runs in sides]
    if all(len(group) == 1 for group in groups):
        pairs = []
        for k in range(1, len(groups)):
            with ExitStack() as stack:
                runs = [stack.enter_context(groups[side][0]()) for side in (0, k)]
                known = read_beside(runs[0], runs[1], choice, progress(runs))
            pairs.append(held_against((called[0], called[k]), known, 1))
        return Comparison(tuple(pairs))
    known = read_each([opened for group in groups for opened in group], choice, _of_one(progress))
    starts = np.concatenate([[0], np.cumsum([len(group) for group in groups])])
    first = range(starts[1])
    pairs = []
    for k in range(1, len(groups)):
        chosen = [*first, *range(starts[k], starts[k + 1])]
        part = Subjects(
            tuple(known.runs[i] for i in chosen),
            tuple(known.pairings[i - 1] for i in chosen[1:]),
        )
        pairs.append(held_against((called[0], called[k]), part, len(first)))
    return Comparison(tuple(pairs))


def _of_one(progress: Callable[[Sequence[Run]], ProgressListener | None]) -> Progress:
    return lambda run: progress([run])
