"""Which training step a checkpoint stands for, read from file names.

Works on text alone; it must never guess between two readings of a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from os.path import commonpath
from pathlib import PurePath

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.snapshot import Unit

_SUFFIXES = re.compile(
    r"(\.weights\.h5|\.weights\.json|\.keras|\.h5|\.hdf5|\.safetensors|\.npz|\.pt|\.pth|\.bin|\.ckpt)$",
    re.IGNORECASE,
)
_DECIMAL = re.compile(r"\d+\.\d+")
_NUMBER = re.compile(r"([A-Za-z]*)[-_=.: ]*?(\d{1,18})(?!\d)")

_STEP_WORDS = ("step", "steps", "globalstep", "iter", "iters", "iteration", "iterations", "update")
_EPOCH_WORDS = ("epoch", "epochs", "ep", "e")

_HOW_TO_SETTLE = (
    "give `koopscope convert` a pattern whose group is the step, for example "
    "--step-pattern 'epoch_(\\d+)'"
)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key under which ``dense_2`` comes before ``dense_10``."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    )


def steps_from_names(
    paths: Sequence[str], pattern: str | None = None
) -> tuple[tuple[int, ...], Unit]:
    """Return the number in each name and what it counts.

    Parameters
    ----------
    paths
        Files or folders; only what differs between them, and its folder, is looked at.
    pattern
        A regular expression whose first group is the step, searched in each whole path.

    Raises
    ------
    KoopscopeError
        If a name has no number, or more than one could be the step.
    """
    if pattern is not None:
        return tuple(_matched(path, pattern) for path in paths), "step"
    numbered = [_numbers(label) for label in _labels(paths)]
    for words, unit in ((_STEP_WORDS, "step"), (_EPOCH_WORDS, "epoch")):
        found = [[number for word, number in numbers if word in words] for numbers in numbered]
        if all(len(set(numbers)) == 1 for numbers in found):
            return tuple(numbers[0] for numbers in found), "step" if unit == "step" else "epoch"
    for path, numbers in zip(paths, numbered, strict=True):
        if not numbers:
            raise KoopscopeError(
                f"the step of {path} is not known: its name has no number", _HOW_TO_SETTLE
            )
    if len({len(numbers) for numbers in numbered}) == 1:
        columns = list(zip(*([n for _, n in numbers] for numbers in numbered), strict=True))
        varying = {column for column in columns if len(set(column)) > 1}
        if len(varying) == 1 or len(columns) == 1:
            return (varying.pop() if varying else columns[0]), "step"
    several = max(zip(paths, numbered, strict=True), key=lambda pair: len(pair[1]))
    listed = ", ".join(str(number) for _, number in several[1])
    raise KoopscopeError(
        f"the step of {several[0]} is ambiguous: its name holds {listed}", _HOW_TO_SETTLE
    )


def _matched(path: str, pattern: str) -> int:
    try:
        match = re.search(pattern, path)
    except re.error as error:
        raise KoopscopeError(
            f"{pattern!r} is not a regular expression: {error}", _HOW_TO_SETTLE
        ) from None
    try:
        if match is not None:
            return int(match[1])
    except (IndexError, TypeError, ValueError):
        pass
    raise KoopscopeError(f"the pattern {pattern!r} finds no whole number in {path}", _HOW_TO_SETTLE)


def _labels(paths: Sequence[str]) -> list[str]:
    """Return what tells the paths apart: the part below their common folder, without suffix."""
    try:
        shared = len(PurePath(commonpath(paths)).parts) if len(paths) > 1 else -1
    except ValueError:
        shared = 0
    labels = []
    for path in paths:
        parts = PurePath(path).parts
        labels.append("/".join(parts[shared:] if shared >= 0 else parts[-1:]))
    return [_SUFFIXES.sub("", label) for label in labels]


def _numbers(label: str) -> list[tuple[str, int]]:
    return [
        (word.lower(), int(number)) for word, number in _NUMBER.findall(_DECIMAL.sub("", label))
    ]
