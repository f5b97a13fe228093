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
class Found:
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
    found
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
    found: Found | None = None
    replaces: bool = False
    keep_until: int | None = None
    said: str = ""

    @property
    def begins(self) -> bool:
        """Whether a file is begun here."""
        return self.found is None or self.replaces


def look(path: Path) -> Found | str:
    """Return what is known of a run, or what the file is instead of one that can be continued."""
    try:
        with RunFile(path) as run:
            description = run.description
    except KoopscopeError as error:
        return error.message
    if not appendable(path):
        return f"{path} is not a run file that Recorder wrote"
    steps = description.steps
    return Found(
        first=int(steps[0]) if len(steps) else None,
        last=int(steps[-1]) if len(steps) else None,
        snapshots=len(steps),
        shapes={tensor.name: tensor.shape for tensor in description.tensors},
        generation=description.generation,
        sketch=description.sketch and replace(description.sketch, kept=()),
    )


def settle(
    path: Path,
    mode: str,
    step: int,
    tensors: Mapping[str, object],
    *,
    was_there: bool,
    sketch: SketchInfo | None = None,
) -> Place | str:
    """Return where a training that begins with this snapshot is recorded, or why nowhere.

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
    """
    taken = claim(path)
    if taken is None:
        if not was_there:
            return f"{path} is being recorded by {holder_of(path)}, which began it first"
        return beside(path, f"{path} is being recorded by {holder_of(path)}")
    if not os.path.lexists(taken.path):
        return Place(path, taken)
    if not was_there:
        taken.release()
        return f"{path} has been begun by another recorder"
    found = look(path)
    if isinstance(found, str):
        taken.release()
        return beside(path, found)
    if mode == "overwrite":
        return Place(path, taken, found, replaces=True)
    if found.sketch != sketch and found.last is not None:
        taken.release()
        kind = found.sketch.words if found.sketch is not None else "weights"
        return beside(path, f"{path} holds {kind}, and not what is recorded now")
    if found.last is None or (step > found.last and found.holds_any(tensors)):
        return Place(path, taken, found)
    earlier = found.first is not None and found.first < step
    if mode == "resume" and earlier and found.holds_any(tensors):
        said = f"{path} went on to step {found.last}: training resumes at step {step} in it"
        return Place(path, taken, found, keep_until=step - 1, said=said)
    taken.release()
    another = "a training" if found.holds_any(tensors) else "a training of another model"
    return beside(path, f"{path} holds {another}, steps {found.first} to {found.last}")


def beside(path: Path, why: str) -> Place | str:
    """Return the first free place, ``run-2.h5`` beside ``run.h5``, or why there is none."""
    for name in itertools.islice(_names(path), _NAMES):
        taken = None if os.path.lexists(os.path.realpath(name)) else claim(name, patience=0.0)
        if taken is None:
            continue
        if os.path.lexists(taken.path):
            taken.release()
            continue
        said = f"{why}: this training is recorded in {name}"
        return Place(name, taken, said=said)
    return f"{why}, and no name beside it is free"


def _names(path: Path) -> Iterator[Path]:
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
