"""Tensors by name in what a pickle holds: mappings, and modules that were saved as a whole.

A module's parameters, buffers and submodules lie in its state under names that have not changed
since PyTorch 0.1; those of a TorchScript module are its attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koopscope.runs.checkpoints.torch.inert import Inert, Name
from koopscope.runs.checkpoints.torch.tensors import looks_like_a_tensor
from koopscope.runs.checkpoints.torch.window import DamagedError

#: How deep and how far a pickle is searched: what is shared is looked at once.
_DEPTH = 64
_VALUES = 2_000_000


def named_tensors(value: Any) -> dict[str, Any]:
    """Return every tensor in a value by its path, in the file's order.

    Names in mappings are joined with ``/``, those of modules with ``.``; a tensor by itself has the
    empty name.

    Raises
    ------
    DamagedError
        If there is no end to it.
    """
    named: dict[str, Any] = {}
    for name, tensor in _Walk().through(value, "", 0):
        named.setdefault(name, tensor)
    return named


def is_module(value: Any) -> bool:
    """Return whether a value is a module that was saved as a whole."""
    return isinstance(value, Inert) and ("_modules" in value.attributes or _is_scripted(value))


def entries(value: Any) -> Mapping[Any, Any]:
    """Return what a value holds by name: a mapping's or an object's; nothing of anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return dict(enumerate(value))
    return value.attributes if isinstance(value, Inert) else {}


def _is_scripted(value: Inert) -> bool:
    return isinstance(value.of, Name) and value.of.module.split(".")[0] == "__torch__"


class _Walk:
    """One search: what it has been through, and how far it may go."""

    def __init__(self) -> None:
        self._left = _VALUES
        self._seen: set[int] = set()

    def through(self, value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
        if looks_like_a_tensor(value):
            yield name, value
            return
        if not isinstance(value, (dict, list, Inert)) or id(value) in self._seen:
            return
        if depth > _DEPTH:
            raise DamagedError(f"what it holds is nested more than {_DEPTH} deep")
        self._seen.add(id(value))
        mark = "/"
        parts: Iterable[tuple[Any, Any]] = entries(value).items()
        if isinstance(value, Inert) and is_module(value):
            parts, mark = _parts(value), "."
        for key, part in parts:
            self._left -= 1
            if self._left < 0:
                raise DamagedError(f"it holds more than {_VALUES:,} values")
            yield from self.through(part, f"{name}{mark}{key}" if name else str(key), depth + 1)


def _parts(module: Inert) -> Iterator[tuple[Any, Any]]:
    """Yield what a module's ``state_dict`` would hold, in its order."""
    state = module.attributes
    if _is_scripted(module):
        yield from state.items()
        return
    passing = state.get("_non_persistent_buffers_set")
    hidden = passing if isinstance(passing, (set, list)) else ()
    for kind in ("_parameters", "_buffers", "_modules"):
        for name, part in entries(state.get(kind)).items():
            if kind != "_buffers" or name not in hidden:
                yield name, part
