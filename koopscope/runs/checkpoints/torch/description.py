"""From what a file of PyTorch holds to a description of its weights, its step and its metrics.

Takes the value that was unpickled and a way to find where a tensor lies; does not depend on the
form of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.snapshot import plain_names
from koopscope.runs.checkpoints.torch.dtypes import READ_AS
from koopscope.runs.checkpoints.torch.inert import Bulk, Inert
from koopscope.runs.checkpoints.torch.modules import entries
from koopscope.runs.checkpoints.torch.reading import Files, Piece, scalar
from koopscope.runs.checkpoints.torch.search import Weights, find_weights, holds
from koopscope.runs.checkpoints.torch.tensors import OtherTensor, StoredTensor
from koopscope.runs.dtypes import unread_weights
from koopscope.runs.names import Unit, counter_of, how_far, is_metric, is_training_state
from koopscope.runs.run import Skipped, TensorInfo, usual_kind

_FURTHEST = 2**62

_SAVE_WEIGHTS = "save the weights alone: torch.save(model.state_dict(), path)"

#: Returns the pieces that a tensor lies in.
Locate = Callable[[StoredTensor], tuple[Piece, ...]]


@dataclass(frozen=True)
class Described:
    """What one file, or one set of files, says of one snapshot: see ``Snapshot``."""

    tensors: tuple[TensorInfo, ...]
    pieces: dict[str, tuple[Piece, ...]]
    skipped: tuple[Skipped, ...]
    step: int | None
    unit: Unit
    metrics: dict[str, float]
    notes: tuple[str, ...]


def described(
    path: Path, value: Any, locate: Locate, files: Files, key: str | None = None
) -> Described:
    """Describe the weights in what a file holds.

    Parameters
    ----------
    path
        Of the file, for messages.
    value
        What it holds.
    locate
        Where a tensor lies.
    key
        See ``find_weights``.
    files
        Those that single numbers are read from.

    Raises
    ------
    KoopscopeError
        If there are none.
    DamagedError
        If they are not where they should be.
    """
    taken = find_weights(value, key)
    if taken is None:
        raise _nothing_found(path, value, key)
    shown = plain_names(list(taken.tensors))
    tensors: list[TensorInfo] = []
    pieces: dict[str, tuple[Piece, ...]] = {}
    skipped: list[Skipped] = []
    owners: dict[tuple[Piece, ...], str] = {}
    widened: dict[str, str] = {}
    for name, tensor in taken.tensors.items():
        reason, weights = _reason(tensor), _unread(shown[name], tensor)
        if not reason:
            places = locate(tensor)
            owner = owners.setdefault(places, shown[name])
            reason, weights = "" if owner == shown[name] else f"tied to {owner}", 0
        if reason:
            skipped.append(Skipped(shown[name], reason, weights))
            continue
        read_as = READ_AS[tensor.dtype]
        if read_as != tensor.dtype:
            widened[tensor.dtype] = read_as
        tensors.append(TensorInfo(shown[name], tensor.shape, read_as, usual_kind(shown[name])))
        pieces[shown[name]] = places
    step, unit = _step(value, locate, files)
    return Described(
        tensors=tuple(tensors),
        pieces=pieces,
        skipped=(*skipped, *taken.left),
        step=step,
        unit=unit,
        metrics=_metrics(value, locate, files),
        notes=(*_taken(taken, value), *(f"{a} values are read as {b}" for a, b in widened.items())),
    )


def _nothing_found(path: Path, value: Any, key: str | None) -> KoopscopeError:
    choices = holds(value)
    if key is not None:
        hint = f"tensors lie under {_listed(choices)}" if choices else "look with koopscope inspect"
        return KoopscopeError(f"{path} holds no tensors under {key}", hint)
    if choices and not is_training_state(choices[0]):
        return KoopscopeError(
            f"{path} holds no weights under a name that is known: {_listed(choices)}",
            f"name where they lie, for example --key {choices[0]}",
        )
    if isinstance(value, (dict, Inert)) and entries(value):
        names = list(entries(value))
        return KoopscopeError(
            f"{path} holds no weights under a name that is known: {_listed(names)}", _SAVE_WEIGHTS
        )
    kind = value.kind if isinstance(value, Inert) else type(value).__name__
    kind = "tensor" if isinstance(value, (StoredTensor, OtherTensor)) else kind
    return KoopscopeError(f"{path} holds a {kind}, not named tensors", _SAVE_WEIGHTS)


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(str(name)[:64] for name in names[:8]) + (", ..." if len(names) > 8 else "")


def _taken(weights: Weights, value: Any) -> list[str]:
    if not weights.key:
        return []
    others = [name for name in holds(value) if name != weights.key.partition("/")[0]]
    more = f" (--key chooses others: {_listed(others)})" if others else ""
    return [f"the weights are what lies under {weights.key}{more}"]


def _reason(tensor: Any) -> str:
    """Return why a tensor is not part of the trajectory, or nothing."""
    if isinstance(tensor, OtherTensor):
        return tensor.reason
    if not isinstance(tensor, StoredTensor):
        return f"made by {tensor.kind}, which is not known here"
    if tensor.dtype not in READ_AS:
        return f"{tensor.dtype} values, not floats that are recorded"
    if tensor.size == 0:
        return f"no elements (shape {list(tensor.shape)})"
    if tensor.is_repeated:
        return f"declared as {list(tensor.shape)}, more values than the file stores"
    return ""


def _unread(name: str, tensor: Any) -> int | None:
    """Return how many weights are missed without a tensor, ``None`` where nobody knows."""
    if not isinstance(tensor, StoredTensor):
        return None
    return unread_weights(name, tensor.shape, tensor.dtype)


def _step(value: Any, locate: Locate, files: Files) -> tuple[int | None, Unit]:
    held = entries(value)
    for name in how_far(name for name in held if isinstance(name, str)):
        number, unit = _number(held[name], locate, files), counter_of(name)
        if isinstance(number, int) and 0 <= number < _FURTHEST and unit is not None:
            return number, unit
    return None, "step"


def _metrics(value: Any, locate: Locate, files: Files) -> dict[str, float]:
    held = entries(value)
    numbers = {
        name: _number(part, locate, files)
        for name, part in held.items()
        if isinstance(name, str) and is_metric(name)
    }
    return {
        name: float(number)
        for name, number in numbers.items()
        if number is not None and abs(number) < 2.0**1023
    }


def _number(value: Any, locate: Locate, files: Files) -> int | float | None:
    """Return a number, or what a tensor of one element holds."""
    if isinstance(value, (bool, Bulk)):
        return None
    if isinstance(value, (int, float)):
        return value
    if not isinstance(value, StoredTensor) or value.size != 1:
        return None
    number = scalar(locate(value)[0].place, files)
    return None if isinstance(number, bool) or number is None or math.isnan(number) else number
