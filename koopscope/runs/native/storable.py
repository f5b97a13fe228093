"""Which names HDF5 can store next to one another. Knows names, and no file."""

from __future__ import annotations

from collections.abc import Iterable


class StorableNames:
    """The names that are taken in a group, asked in a time that does not grow with their number.

    Parameters
    ----------
    names
        Those taken from the start.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._within: dict[str, str] = {}  # each group that the names lie in, with one of them
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Take a name."""
        self._names.add(name)
        for group in _groups(name):
            self._within.setdefault(group, name)

    def problem(self, name: str) -> str:
        """Return why nothing can be stored under this name next to the others, or nothing."""
        if any(part in ("", ".") for part in name.split("/")) or not name.isprintable():
            return f"not storable in HDF5 under the name {name!r}"
        other = self._within.get(name)
        for group in _groups(name):
            if group in self._names:
                other = group
        return f"not storable in HDF5 next to {other}" if other else ""


def _groups(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
