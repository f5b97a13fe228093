"""Find the network's weights among all that a checkpoint holds, and say what else is there.

A mapping of named tensors is looked for first, under the names that training programs give it; a
tensor beside it (a loss, a fixed noise, the state of a random generator) is never the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koopscope.runs.checkpoints.torch.inert import Bulk, Inert
from koopscope.runs.checkpoints.torch.modules import entries, is_module, named_tensors
from koopscope.runs.checkpoints.torch.tensors import looks_like_a_tensor
from koopscope.runs.names import (
    AVERAGE_KEYS,
    WEIGHT_KEYS,
    is_beside_weights,
    is_of_a_layer,
    is_training_state,
)
from koopscope.runs.run import Skipped

_WRAPPED_DEEP = 8
_LISTED = 64


@dataclass(frozen=True)
class Weights:
    """The weights of a checkpoint.

    Attributes
    ----------
    key
        Where they lie, parts joined with ``/``; empty for the whole.
    tensors
        By name.
    left
        What else is there.
    """

    key: str
    tensors: Mapping[str, Any]
    left: tuple[Skipped, ...]


def find_weights(value: Any, key: str | None = None) -> Weights | None:
    """Return the weights, ``None`` if there are none where they are looked for.

    Parameters
    ----------
    value
        What the file holds.
    key
        Where they lie, if the user says so: parts joined with ``/``, or with ``.``; ``.`` for all.

    Raises
    ------
    DamagedError
        If there is no end to what is in it.
    """
    if key is not None:
        path = "" if key == "." else key
        target = _under(value, path) if path else value
        tensors = named_tensors(target)
        if path and "" in tensors:
            tensors = {path.rpartition("/")[2]: target}
        taken = (path, tensors) if tensors else None
    else:
        taken = _search(value, 0)
    if taken is None:
        return None
    path, tensors = taken
    return Weights(path, tensors, tuple(_left(value, path, tensors)))


def holds(value: Any) -> list[str]:
    """Return what ``--key`` may choose: names under which there are tensors, networks first."""
    names = [
        name
        for name, part in _named(value).items()
        if not looks_like_a_tensor(part) and named_tensors(part)
    ]
    return sorted(names, key=is_training_state)


def _under(value: Any, key: str) -> Any:
    """Return what lies at a path; a name may hold the sign that joins names."""
    held = _named(value)
    if is_module(value):
        held = _named(value.attributes.get("_modules")) | held
    if key in held:
        return held[key]
    for cut in (i for i, sign in enumerate(key) if sign in "./"):
        if key[:cut] in held:
            inner = _under(held[key[:cut]], key[cut + 1 :])
            if inner is not None:
                return inner
    return None


def _search(value: Any, depth: int) -> tuple[str, dict[str, Any]] | None:
    if is_module(value):
        tensors = named_tensors(value)
        return ("", tensors) if tensors else None
    held = _named(value)
    return (
        _wrapped(held, WEIGHT_KEYS, depth)
        or _direct(held, only_of_layers=True)
        or _parts(held, depth)
        or _direct(held, only_of_layers=False)
        or _wrapped(held, AVERAGE_KEYS, depth)
    )


def _wrapped(
    held: Mapping[str, Any], names: tuple[str, ...], depth: int
) -> tuple[str, dict[str, Any]] | None:
    for name in names:
        part = held.get(name)
        if part is None or looks_like_a_tensor(part) or depth > _WRAPPED_DEEP:
            continue
        inside = {} if is_module(part) else _named(part)
        deeper = _wrapped(inside, WEIGHT_KEYS, depth + 1)
        if deeper is not None:
            return f"{name}/{deeper[0]}", deeper[1]
        tensors = named_tensors(part)
        if tensors:
            return name, tensors
    return None


def _named(value: Any) -> dict[str, Any]:
    return {str(name): part for name, part in entries(value).items()}


def _direct(held: Mapping[str, Any], *, only_of_layers: bool) -> tuple[str, dict[str, Any]] | None:
    """Return the tensors that lie here, without those that programs keep beside weights."""
    tensors = {
        name: part
        for name, part in held.items()
        if looks_like_a_tensor(part) and not is_beside_weights(name)
    }
    if only_of_layers and not any(is_of_a_layer(name) for name in tensors):
        return None
    return ("", tensors) if tensors else None


def _parts(held: Mapping[str, Any], depth: int) -> tuple[str, dict[str, Any]] | None:
    """Return the tensors of every mapping that may be a network: a generator and its critic."""
    networks = {
        name: tensors
        for name, part in held.items()
        if not looks_like_a_tensor(part) and not is_training_state(name)
        for tensors in [named_tensors(part)]
        if tensors
    }
    if len(networks) == 1 and depth <= _WRAPPED_DEEP:
        (name,) = networks
        inner = _search(held[name], depth + 1)
        if inner is not None and any(is_of_a_layer(inside) for inside in inner[1]):
            return f"{name}/{inner[0]}" if inner[0] else name, inner[1]
    tensors = {
        f"{name}/{inside}": tensor
        for name, held_here in networks.items()
        for inside, tensor in held_here.items()
    }
    return ("", tensors) if tensors else None


def _left(value: Any, path: str, taken: Mapping[str, Any]) -> list[Skipped]:
    """Say what lies beside the weights at the top."""
    if is_module(value) and not path:
        return []
    left: list[Skipped] = []
    top = path.partition("/")[0]
    for name, part in list(entries(value).items())[:_LISTED]:
        name = str(name)
        if path and (name == top or path == name or path.startswith((f"{name}/", f"{name}."))):
            continue
        if not path and (name in taken or any(t.startswith(f"{name}/") for t in taken)):
            continue
        left.append(Skipped(name, _why_left(name, part)))
    return left


def _why_left(name: str, part: Any) -> str:
    if looks_like_a_tensor(part):
        return "a tensor beside the weights"
    tensors = len(named_tensors(part))
    if tensors:
        of = "state of training" if is_training_state(name) else "not the weights taken"
        many = f"{tensors} tensors" if tensors > 1 else "a tensor"
        return f"{of}: {many}, which --key {name} takes"
    if isinstance(part, Bulk):
        return "not a tensor but a long text"
    if part is None:
        return "nothing is in it"
    kind = part.kind.rpartition(".")[2] if isinstance(part, Inert) else type(part).__name__
    return f"not a tensor but {'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
