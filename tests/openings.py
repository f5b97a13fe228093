"""Count how often files are opened, by Python and by HDF5, as the system would see it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import h5py

_counts: list[tuple[Path, Counter[str]]] = []


def _opening(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _counts and isinstance(arguments[0], (str, bytes)):
        _count(arguments[0])


def _count(name: str | bytes) -> None:
    for folder, counts in _counts:
        path = Path(os.path.abspath(os.fsdecode(name)))
        if folder in path.parents and not path.is_dir():
            counts[str(path.relative_to(folder))] += 1


@contextmanager
def openings(folder: Path) -> Iterator[Counter[str]]:
    """Count how often each file below a folder is opened: ``open``, ``os.open`` and ``H5Fopen``."""
    if not getattr(sys, "_openings_are_heard", False):
        sys.addaudithook(_opening)
        sys._openings_are_heard = True  # type: ignore[attr-defined]
    real = h5py.h5f.open

    def counting(name: bytes, *arguments: Any, **options: Any) -> Any:
        # What h5py reads through a file object is opened by Python; its name here is an address.
        if os.path.exists(name):
            _count(name)
        return real(name, *arguments, **options)

    counts: Counter[str] = Counter()
    _counts.append((Path(os.path.abspath(folder)), counts))
    try:
        with mock.patch.object(h5py.h5f, "open", counting):
            yield counts
    finally:
        _counts.pop()
