"""Where a gate's policy is written: pyproject.toml or koopscope.toml, the environment, --config.

The only module that looks for configuration files; what the values mean is decided elsewhere.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.gate.policy import Policy, policy
from koopscope.gate.rules import did_you_mean

#: KOOPSCOPE_PRESET=strict, KOOPSCOPE_RULES__CONVERGENCE=warn: two underscores for a dot.
ENVIRONMENT_PREFIX = "KOOPSCOPE_"
#: Our name as a part of a key or of a table's header.
_OUR_KEY = re.compile(
    r"""^\s*\[\[?[\w\s."'-]*koopscope["']?\s*[\].]|koopscope["']?\s*(?:\.|=(?!=))"""
)

_SETTINGS = ("PRESET", "FAIL_ON", "STRICT", "RULES", "METRICS", "BASELINE")


@dataclass(frozen=True)
class Source:
    """Nested plain values and what to call them in an error."""

    values: Mapping[str, Any]
    name: str


@dataclass(frozen=True)
class InForce:
    """A policy, and where what deviates from the defaults was written, in the order of reading."""

    policy: Policy
    sources: tuple[str, ...]


def read_policy(
    overrides: Sequence[str], environment: Mapping[str, str], isolated: bool = False
) -> Policy:
    """Return the policy of the working directory, the environment and ``--config``, last wins.

    See ``policy_in_force``.
    """
    return policy_in_force(overrides, environment, isolated).policy


def policy_in_force(
    overrides: Sequence[str], environment: Mapping[str, str], isolated: bool = False
) -> InForce:
    """Return the policy with the names of the sources that say anything.

    Parameters
    ----------
    overrides
        Each ``--config``: a TOML file, in place of the one that would be found, or ``KEY=VALUE``.
    environment
        Usually ``os.environ``.
    isolated
        Look at no file and no variable.

    Raises
    ------
    KoopscopeError
        If a file cannot be read or parsed, or a setting is unknown or of the wrong type.
    """
    files = [text for text in overrides if not _is_assignment(text)]
    if len(files) > 1:
        raise KoopscopeError(f"two configuration files, {files[0]} and {files[1]}", "give one")
    sources = []
    if files:
        sources.append(_from_file(Path(files[0])))
    elif not isolated:
        found = _find(Path.cwd())
        sources.extend([_from_file(found)] if found else [])
    if not isolated:
        sources.append(Source(_from_environment(environment), "environment variable"))
    sources.extend(
        Source(_assigned(*text.split("=", 1)), f"--config {text}")
        for text in overrides
        if _is_assignment(text)
    )
    merged: dict[str, Any] = {}
    for source in sources:
        policy(source.values, source.name)  # so that an error names where it was written
        _merge(merged, source.values)
    named = tuple(source.name for source in sources if source.values)
    return InForce(policy(merged, "configuration"), named)


def _is_assignment(text: str) -> bool:
    return "=" in text and not Path(text).is_file()


def _find(start: Path) -> Path | None:
    """Return the nearest koopscope.toml, or pyproject.toml that speaks of koopscope, upwards."""
    for folder in (start, *start.parents):
        own = folder / "koopscope.toml"
        if own.is_file():
            return own
        project = folder / "pyproject.toml"
        if project.is_file() and _speaks_of_koopscope(project):
            return project
    return None


def _speaks_of_koopscope(project: Path) -> bool:
    """Whether the file has settings for us, however TOML lets them be spelt.

    A file that cannot be parsed is somebody else's concern, unless a line names us as a key.
    """
    text = project.read_text("utf-8", "replace")
    lines = [line.partition("#")[0] for line in text.splitlines()]
    names_us = any(_OUR_KEY.search(line) for line in lines)
    try:
        library = _toml()
    except KoopscopeError:
        return names_us
    try:
        tool = library.loads(text).get("tool")
    except (library.TOMLDecodeError, RecursionError):
        return names_us
    return isinstance(tool, Mapping) and "koopscope" in tool


def _from_file(path: Path) -> Source:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KoopscopeError(
            f"configuration {path} cannot be read: {getattr(error, 'strerror', error)}",
            "name a TOML file, or KEY=VALUE",
        ) from error
    parsed = _parsed(text, str(path))
    tool = parsed.get("tool")
    if path.name == "pyproject.toml" or isinstance(tool, Mapping):
        parsed = tool.get("koopscope", {}) if isinstance(tool, Mapping) else {}
    if not isinstance(parsed, Mapping):
        raise KoopscopeError(
            f"{path}: tool.koopscope is {parsed!r}, not a table of settings", "see docs/guide/ci.md"
        )
    return Source(parsed, str(path))


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    library = _toml()
    try:
        values: Mapping[str, Any] = library.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond Python's limits
        raise KoopscopeError(f"{where} is not valid TOML: {error}", "mend that line") from error
    return values


def _toml() -> Any:
    """Python has read TOML since 3.11; before, tomli is the same code."""
    from importlib import import_module

    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        return import_module(name)
    except ImportError:
        raise KoopscopeError(
            "reading a configuration file with Python 3.10 needs tomli",
            "pip install 'koopscope[toml]', or use --isolated",
        ) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in sorted(environment.items()):
        key = name.removeprefix(ENVIRONMENT_PREFIX)
        if key == name:
            continue
        if key.split("__")[0] not in _SETTINGS:
            known = [ENVIRONMENT_PREFIX + setting for setting in _SETTINGS]
            close = did_you_mean(name.split("__")[0], known)
            raise KoopscopeError(
                f"environment variable: there is no setting {name}",
                f"{close}; unset it, or look at no variable with --isolated",
            )
        parts = [part.lower().replace("_", "-") for part in key.split("__")]
        if parts[0] in ("rules", "metrics") and len(parts) > 1:
            parts[1] = parts[1].replace("-", "_")  # ids and metrics are spelt with underscores
        _merge(values, _nested(parts, _value(text)))
    return values


def _assigned(key: str, text: str) -> dict[str, Any]:
    return _nested(key.strip().split("."), _value(text.strip()))


def _nested(parts: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _value(text: str) -> Any:
    """Read a value as TOML does: true, 0.5, a list, a table; what is no TOML is a word.

    Python 3.10 has no TOML of its own; without tomli, true, false and numbers are read.
    """
    try:
        library = _toml()
    except KoopscopeError:
        return _plain_value(text)
    try:
        return library.loads(f"value = {text}")["value"]
    except (library.TOMLDecodeError, RecursionError):
        return _words(text)


def _plain_value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return _words(text)


def _words(text: str) -> Any:
    """Read bare words, alone or in a list, as a shell leaves them: [converged, training]."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.startswith("[") and text.endswith("]"):
        return [word.strip().strip("\"'") for word in text[1:-1].split(",") if word.strip()]
    return text.strip("\"'")


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = into.get(key)
            # A rule's bare level ("warn") is short for a table with that level.
            fresh = {"level": inner} if isinstance(inner, str) else dict(inner or {})
            _merge(fresh, value)
            into[key] = fresh
        else:
            into[key] = value


def step_summary_path() -> Path | None:
    """Return the file that GitHub shows as the job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(path) if path else None
