"""What a finding rests on: typed fields for the package, plain keys for JSON and for callers.

Each diagnostic has a frozen dataclass of its own. A field appears in JSON under its own name, or
under the ``key`` of its metadata; one that was not computed is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


def keyed(key: str, *, shown_with: str | None = None) -> dict[str, str | None]:
    """Return the metadata of a field that JSON calls ``key``, such as a word of Python."""
    return {"key": key, "shown_with": shown_with}


def shown_with(name: str) -> dict[str, str | None]:
    """Return the metadata of a field that is left out as long as the field ``name`` is ``None``.

    That may be the field itself: then ``None`` means that it was not computed. Otherwise ``None``
    is a value, and JSON shows it.
    """
    return {"shown_with": name}


def plain_form(value: Any) -> Any:
    """Return dataclasses as dictionaries and sequences as lists, all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.metadata.get("key", each.name): plain_form(getattr(value, each.name))
            for each in fields(value)
            if _is_shown(value, each.metadata.get("shown_with"))
        }
    if isinstance(value, Mapping):
        return {key: plain_form(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_form(item) for item in value]
    return value


def _is_shown(record: Any, beside: str | None) -> bool:
    return beside is None or getattr(record, beside) is not None


@dataclass(frozen=True)
class Evidence(Mapping[str, Any]):
    """Base of every diagnostic's evidence; as a mapping it has the keys that JSON shows."""

    @property
    def judged_state(self) -> str | None:
        """The state that a gate's ``accept`` looks at; ``None`` where the question has none."""
        return None

    @property
    def value_interval(self) -> tuple[float, float] | None:
        """The interval of the finding's own value, ``None`` where it has none."""
        return None

    def plain(self) -> dict[str, Any]:
        """Return the evidence as JSON has it: dictionaries, lists, numbers, text and ``None``."""
        form: dict[str, Any] = plain_form(self)
        return form

    def __getitem__(self, key: str) -> Any:
        return self.plain()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain())

    def __len__(self) -> int:
        return len(self.plain())


@dataclass(frozen=True)
class StatedEvidence(Evidence):
    """Evidence of a question that is answered by naming a state."""

    state: str | None = None

    @property
    def judged_state(self) -> str | None:
        """The state that a gate's ``accept`` looks at."""
        return self.state
