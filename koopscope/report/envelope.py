"""The frame of every JSON document: versions, several runs, failures, and how it is written out.

The same input gives the same bytes: no time, no host, no order that could change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from koopscope._version import __version__
from koopscope.errors import KoopscopeError
from koopscope.report.json_values import json_text, plain

#: Of every document; later minor versions only add keys.
SCHEMA_VERSION = "1.0"

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A run that could not be read or judged, and why."""

    path: str
    error: KoopscopeError


def enveloped(content: Mapping[str, Any]) -> JsonObject:
    """Return a document of plain JSON values with the versions in front."""
    whole: JsonObject = plain(versioned(content))
    return whole


def versioned(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content with the versions in front, its values as they are."""
    return {"schema_version": SCHEMA_VERSION, "koopscope_version": __version__, **content}


def of_runs(
    documents: Sequence[JsonObject], failures: Iterable[Failure], **more: Any
) -> JsonObject:
    """Return the one run's document, or one with ``runs``, ``failed`` and ``more``."""
    failed = [
        {"path": failure.path, "error": failure.error.message, "hint": failure.error.hint}
        for failure in failures
    ]
    if len(documents) == 1 and not failed:
        return documents[0]
    return enveloped({"runs": list(documents), "failed": failed, **more})


def dumped(document: JsonObject) -> str:
    """Return a document as indented JSON in ASCII, ending in a newline."""
    return json_text(document)


def schema(name: str) -> JsonObject:
    """Return the JSON Schema of a kind of report; it ships with the package.

    Raises
    ------
    KoopscopeError
        If there is none of this name.
    """
    folder = resources.files("koopscope.report") / "schema"
    place = folder / f"{name}-{SCHEMA_VERSION}.schema.json"
    if not place.is_file():
        known = sorted(
            each.name.partition("-")[0] for each in folder.iterdir() if each.name.endswith(".json")
        )
        raise KoopscopeError(f"there is no schema {name!r}", f"there are: {', '.join(known)}")
    parsed: JsonObject = json.loads(place.read_text("utf-8"))
    return parsed
