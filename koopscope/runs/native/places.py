"""Where a training is recorded: in the file that was asked for, or beside it under a free name.

Decides from what lies there, from the first step, and from who else writes there. Never touches
what it finds: another training's run, or a file that is none.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from koopscope.errors import KoopscopeError
from koopscope.runs.claims import Claim, claim, holder_of
from koopscope.runs.native.reader import RunFile
from koopscope.runs.native.writer import appendable
from koopscope.runs.sketches import SketchInfo

MODES = ("new", "resume", "overwrite")

#: Names tried beside the one that was asked for.
_NAMES = 10_000


@dataclass(frozen=True)
class Recorded:
    """A run that lies where a training is to be recorded."""

    first: int | None
    last: int | None
    snapshots: int
    shapes: Mapping[str, tuple[int, ...]]
    generation: int
    sketch: SketchInfo | None = None

    def holds_any(self, tensors: Mapping[str, object]) -> bool:
        """Return whether any of the tensors is recorded in it."""
        return any(name in self.shapes for name in tensors)


@dataclass(frozen=True)
class Place:
    """A claimed path and what to do there.

    Attributes
    ----------
    path
        Where.
    claim
        Of the path.
    earlier
        The run that is continued or replaced; ``None`` where a new one begins.
    replaces
        Whether it is replaced.
    keep_until
        The last step of it that is kept, ``None`` for all.
    said
        What to say of it, or nothing.
    """

    path: Path
    claim: Claim
    earlier: Recorded | None = None
    replaces: bool = False
    keep_until: int | None = None
    said: str = ""

    @property
    def begins(self) -> bool:
        """Whether a file is begun here."""
        return self.earlier is None or self.replaces


class NoPlaceError(Exception):
    """A training that can be recorded nowhere, and why. Recorder warns of it, and goes on."""


def recorded_in(path: Path) -> Recorded:
    """Return what is known of a run.

    Raises
    ------
    KoopscopeError
        If the file is none that can be continued.
    """
    with RunFile(path) as run:
        description = run.description
    if not appendable(path):
        raise KoopscopeError(f"{path} is not a run file that Recorder wrote")
    steps = description.steps
    return Recorded(
        first=int(steps[0]) if len(steps) else None,
        last=int(steps[-1]) if len(steps) else None,
        snapshots=len(steps),
        shapes={tensor.name: tensor.shape for tensor in description.tensors},
        generation=description.generation,
        sketch=description.sketch and replace(description.sketch, kept=(), resolution=0.0),
    )


def settle(
    path: Path,
    mode: str,
    step: int,
    tensors: Mapping[str, object],
    *,
    was_there: bool,
    sketch: SketchInfo | None = None,
) -> Place:
    """Return where a training that begins with this snapshot is recorded.

    Parameters
    ----------
    path
        The file that was asked for.
    mode
        One of ``MODES``.
    step, tensors
        Of the first snapshot.
    was_there
        Whether the file was there when recording was asked for. If not, and it is now, two began
        one file at once: the first has it.
    sketch
        How snapshots are sketched, if they are: only such a run is gone on with.

    Raises
    ------
    NoPlaceError
        If another recorder began the file first, or no name beside it is free.
    """
    taken = claim(path)
    if taken is None:
        if not was_there:
            raise NoPlaceError(
                f"{path} is being recorded by {holder_of(path)}, which began it first"
            )
        return beside(path, f"{path} is being recorded by {holder_of(path)}")
    if not os.path.lexists(taken.path):
        return Place(path, taken)
    if not was_there:
        taken.release()
        raise NoPlaceError(f"{path} has been begun by another recorder")
    try:
        earlier = recorded_in(path)
    except KoopscopeError as error:
        taken.release()
        return beside(path, error.message)
    if mode == "overwrite":
        return Place(path, taken, earlier, replaces=True)
    if earlier.sketch != sketch and earlier.last is not None:
        taken.release()
        holds = earlier.sketch.words if earlier.sketch is not None else "weights"
        return beside(path, f"{path} holds {holds}, and not what is recorded now")
    same_model = earlier.holds_any(tensors)
    if earlier.last is None or (step > earlier.last and same_model):
        return Place(path, taken, earlier)
    if mode == "resume" and earlier.first is not None and earlier.first < step and same_model:
        said = f"{path} went on to step {earlier.last}: training resumes at step {step} in it"
        return Place(path, taken, earlier, keep_until=step - 1, said=said)
    taken.release()
    another = "a training" if same_model else "a training of another model"
    return beside(path, f"{path} holds {another}, steps {earlier.first} to {earlier.last}")


def beside(path: Path, why: str) -> Place:
    """Return the first free place: ``run-2.h5`` beside ``run.h5``.

    Parameters
    ----------
    path
        The file that was asked for.
    why
        Why it is not recorded there, for the sentence that says so.

    Raises
    ------
    NoPlaceError
        If no name is free.
    """
    for name in itertools.islice(_names(path), _NAMES):
        taken = None if os.path.lexists(os.path.realpath(name)) else claim(name, patience=0.0)
        if taken is None:
            continue
        if os.path.lexists(taken.path):
            taken.release()
            continue
        said = f"{why}: this training is recorded in {name}"
        return Place(name, taken, said=said)
    raise NoPlaceError(f"{why}, and no name beside it is free")


def _names(path: Path) -> Iterator[Path]:
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
