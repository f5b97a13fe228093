"""What a run file says about itself: its version, its metadata, what its recorder left out.

Attributes are text from outside: nothing here is believed beyond what it parses to, and only a
version of another major number stops the reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.hdf5.safety import text_attribute
from koopscope.runs.run import Skipped

FORMAT = "koopscope-run"
MAJOR, MINOR = 1, 2

#: How often committed snapshots were taken out of a file; nothing said is never.
GENERATION = "generation"


def checked_version(path: Path, root: h5py.h5g.GroupID, notes: list[str]) -> str:
    """Return the layout's name and version, with a note where the minor version is newer.

    Raises
    ------
    KoopscopeError
        If the file is not a run file, or of another major version.
    """
    if text_attribute(root, "format") != FORMAT:
        raise KoopscopeError(
            f"{path} is an HDF5 file but not a koopscope run file",
            "record runs with koopscope.Recorder",
        )
    version = text_attribute(root, "format_version") or "nothing"
    parsed = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", version, re.ASCII)
    if parsed is None:
        raise KoopscopeError(
            f"{path} gives {version[:40]!a} as its format_version", "it should read 1.0"
        )
    major, minor = int(parsed[1]), int(parsed[2])
    if major != MAJOR:
        raise KoopscopeError(
            f"{path} has format {version}, and this koopscope reads {MAJOR}.x",
            "install a newer koopscope" if major > MAJOR else "record the run again",
        )
    if minor > MINOR:
        notes.append(f"format {version} is newer than {MAJOR}.{MINOR}: parts may be overlooked")
    return f"{FORMAT} {version}"


def generation_of(root: h5py.h5g.GroupID) -> int:
    """Return how often committed snapshots were taken out of the file, 0 where it does not say."""
    if not h5py.h5a.exists(root, GENERATION.encode()):
        return 0
    attribute = h5py.h5a.open(root, GENERATION.encode())
    if not isinstance(attribute.get_type(), h5py.h5t.TypeIntegerID) or attribute.shape:
        return 0
    value = np.zeros((), np.int64)
    attribute.read(value)
    return int(value)


def read_metadata(root: h5py.h5g.GroupID, notes: list[str]) -> Mapping[str, Any]:
    """Return what the recording program said about the run, with a note if it is not readable."""
    if not h5py.h5a.exists(root, b"metadata"):
        return {}
    metadata = _parsed(text_attribute(root, "metadata"))
    if isinstance(metadata, dict):
        return metadata
    notes.append("its metadata is not a JSON object and is ignored")
    return {}


def said_skipped(root: h5py.h5g.GroupID) -> list[Skipped]:
    """Return what the recorder said it left out."""
    listed = _parsed(text_attribute(root, "skipped"))
    entries = listed if isinstance(listed, list) else []
    return [
        Skipped(str(entry.get("name")), str(entry.get("reason")), _said_weights(entry))
        for entry in entries
        if isinstance(entry, dict)
    ]


def _said_weights(entry: Mapping[str, Any]) -> int | None:
    """Return how many weights an entry stands for; recorders did not always say."""
    said = entry.get("weights", 0)
    if "weights" not in entry and re.match(r"b?float|complex", str(entry.get("reason"))):
        return None
    return said if type(said) is int and said >= 0 else None


def _parsed(text: str | None) -> Any:
    try:
        return loaded(text or "null")
    except ValueError:
        return None
