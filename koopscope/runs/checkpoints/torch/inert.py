"""Stand-ins for what a pickle names: they hold what was stored, and nothing of them can be called.

A class of the program that saved a file is not imported, its constructor is not called, its state
is not set: all of it is kept as plain data beside the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Name:
    """A class or function that a pickle names, never looked up."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Inert:
    """An object whose class stayed a name.

    Attributes
    ----------
    of
        What made it: a ``Name`` nearly always.
    arguments
        What it would have been called with.
    state
        What would have been set on it, ``None`` if nothing was.
    items, members
        What would have been stored in it by key, and in order.
    """

    __slots__ = ("arguments", "items", "members", "of", "state")

    def __init__(self, of: Any, arguments: Any = ()) -> None:
        self.of = of
        self.arguments = arguments
        self.state: Any = None
        self.items: dict[Any, Any] = {}
        self.members: list[Any] = []

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    @property
    def kind(self) -> str:
        """The name of the class, or of what made the object."""
        return str(self.of) if isinstance(self.of, Name) else "an object"

    @property
    def attributes(self) -> Mapping[Any, Any]:
        """What was set on it by name; nothing where its state is of another form."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2:  # (__dict__, __slots__)
            merged: dict[Any, Any] = {}
            for part in state:
                if isinstance(part, dict):
                    merged |= part
            return merged
        return state if isinstance(state, dict) else self.items


class Bulk:
    """Text or bytes too long to be kept; what they said was passed over."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


def is_a(value: Any, name: str, module: str = "") -> bool:
    """Return whether a value is an object of a class of this name."""
    return (
        isinstance(value, Inert)
        and isinstance(value.of, Name)
        and value.of.name == name
        and value.of.module.startswith(module)
    )
